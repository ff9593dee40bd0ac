#!/bin/sh
# Makes the secrets that docker-compose.yml mounts, where they do not exist yet. None is printed.
#
#     sh config/compose/secrets.sh [FOLDER]      ./secrets by default
#
# The folder is closed to other users of this machine; the files in it are readable, because the
# users inside the containers are not the one that made them.
set -eu

folder=${1:-secrets}
umask 077
mkdir -p "$folder"
chmod 700 "$folder"

random() {
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

for name in api_keys alert_token grafana_admin_password; do
  if [ ! -s "$folder/$name" ]; then
    random >"$folder/$name"
  fi
  chmod 444 "$folder/$name"
done

# The load generator's key, as the variable that --api-key-env names.
printf 'FIRSTTOKEN_API_KEY=%s\n' "$(tr ', \n' '\n\n\n' <"$folder/api_keys" | head -n 1)" >"$folder/load.env"
echo "secrets are in $folder/: $(ls "$folder" | tr '\n' ' ')"
