"""HTTP towards a model's server, for asyncio: kept connections and replies read as they come."""
