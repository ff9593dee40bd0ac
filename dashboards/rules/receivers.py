"""Who is told of an alert: each kind is off unless it is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Loop:
    """The router's own webhook, which acts."""

    url: str = "http://router:8080/-/alerts"
    token_file: str = "/run/secrets/alert_token"  # noqa: S105 - a path
    most_alerts: int = 50
    """Alerts in one delivery; the rest is cut off and said to be."""

    def config(self) -> dict[str, Any]:
        """Return ``webhook_configs`` of the receiver."""
        return {
            "webhook_configs": [
                {
                    "url": self.url,
                    "send_resolved": True,
                    "max_alerts": self.most_alerts,
                    "http_config": {
                        "authorization": {"type": "Bearer", "credentials_file": self.token_file},
                        "follow_redirects": False,
                    },
                }
            ]
        }


@dataclass(frozen=True, slots=True)
class Email:
    """Mail by SMTP, encrypted."""

    to: str
    sender: str
    smarthost: str
    """``host:port``."""
    username: str
    password_file: str

    def config(self) -> dict[str, Any]:
        """Return ``email_configs`` of the receiver."""
        return {
            "email_configs": [
                {
                    "to": self.to,
                    "from": self.sender,
                    "smarthost": self.smarthost,
                    "auth_username": self.username,
                    "auth_password_file": self.password_file,
                    "require_tls": True,
                    "send_resolved": True,
                }
            ]
        }


@dataclass(frozen=True, slots=True)
class Slack:
    """A channel of Slack."""

    channel: str
    url_file: str
    """Holds the address of the incoming webhook, which is a secret."""

    def config(self) -> dict[str, Any]:
        """Return ``slack_configs`` of the receiver."""
        return {
            "slack_configs": [
                {
                    "channel": self.channel,
                    "api_url_file": self.url_file,
                    "send_resolved": True,
                    "title": "{{ .CommonLabels.alertname }} ({{ .Status }})",
                    "text": _TEXT,
                }
            ]
        }


@dataclass(frozen=True, slots=True)
class WeCom:
    """An application of WeCom."""

    corp_id: str
    agent_id: str
    to_party: str
    secret: str = field(repr=False)
    """Alertmanager reads it from its configuration alone: the file that holds it is a secret."""

    def config(self) -> dict[str, Any]:
        """Return ``wechat_configs`` of the receiver."""
        return {
            "wechat_configs": [
                {
                    "corp_id": self.corp_id,
                    "agent_id": self.agent_id,
                    "to_party": self.to_party,
                    "api_secret": self.secret,
                    "send_resolved": True,
                    "message": "{{ .CommonLabels.alertname }} ({{ .Status }})\n" + _TEXT,
                }
            ]
        }


@dataclass(frozen=True, slots=True)
class Mute:
    """Hours of the week in which load tests are run and the loop must keep still."""

    weekdays: tuple[str, ...]
    """``saturday``, or a range: ``monday:friday``."""
    start: str
    """``HH:MM``."""
    end: str
    location: str = "UTC"

    def config(self) -> dict[str, Any]:
        """Return one of ``time_intervals[].time_intervals``."""
        return {
            "weekdays": list(self.weekdays),
            "times": [{"start_time": self.start, "end_time": self.end}],
            "location": self.location,
        }


@dataclass(frozen=True, slots=True)
class Receivers:
    """Everybody who is told, and when nobody is."""

    loop: Loop | None = field(default_factory=Loop)
    people: tuple[Email | Slack | WeCom, ...] = ()
    """None: alerts are seen in Alertmanager alone."""
    heartbeat_url: str | None = None
    """A service that raises an alarm when the watchdog's alert stops coming."""
    mutes: tuple[Mute, ...] = ()


_TEXT = (
    "{{ range .Alerts }}{{ .Annotations.description }} {{ .Annotations.runbook_url }}\n{{ end }}"
)

EVERY_RECEIVER = Receivers(
    people=(
        Email(
            to="operator@example.org",
            sender="alerts@example.org",
            smarthost="smtp.example.org:587",
            username="alerts@example.org",
            password_file="/run/secrets/smtp_password",  # noqa: S106 - a path
        ),
        Slack(channel="#firsttoken", url_file="/run/secrets/slack_url"),
        WeCom(corp_id="CORP_ID", agent_id="1000002", to_party="1", secret="WECOM_SECRET"),  # noqa: S106
    ),
    heartbeat_url="https://heartbeat.example.org/firsttoken",
    mutes=(Mute(("saturday",), "02:00", "06:00", "Asia/Shanghai"),),
)
"""One of each kind, with placeholders: the documented example."""
