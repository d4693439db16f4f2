"""The sections of the settings that say what a flow runs on: the cluster, topics, recovery, processes and probes."""

from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from dataflows.kafka.tokens import TokenSource, token_source

Option: TypeAlias = str | int | float | bool
LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Addresses that no other machine reaches."""


class Section(BaseModel):
    """A group of settings: frozen, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class KafkaSettings(Section):
    """How to reach the cluster."""

    bootstrap_servers: str = "127.0.0.1:9092"
    """Brokers, `host:port` separated by commas."""
    security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    sasl_mechanism: str | None = None
    """`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`, `OAUTHBEARER`, ..."""
    sasl_username: str | None = None
    """Who asks, where the protocol is one of SASL's."""
    sasl_password: SecretStr | None = None
    """Shown nowhere."""
    ssl_ca_location: Path | None = None
    """Certificates of those who may sign the brokers'; none: the system's."""
    ssl_certificate_location: Path | None = None
    """Our own certificate, where the brokers ask for one."""
    ssl_key_location: Path | None = None
    """Its private key."""
    ssl_key_password: SecretStr | None = None
    """What opens the key; shown nowhere."""
    oauth_cb: str | None = None
    """Where the mechanism is `OAUTHBEARER`: `module:function`, which gives a token and the Unix seconds at which it
    expires; for AWS' MSK by IAM it is three lines."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where a flow without a snapshot begins to read."""
    lost_offsets: Literal["fail", "earliest"] = "fail"
    """What a flow does where the log no longer holds the offset at which it has to go on."""
    options: dict[str, Option] = Field(default_factory=dict, repr=False)
    """Any other librdkafka option, for every client; shown nowhere, since some are secrets."""
    consumer_options: dict[str, Option] = Field(default_factory=dict, repr=False)
    """librdkafka options for consumers only."""
    producer_options: dict[str, Option] = Field(default_factory=dict, repr=False)
    """librdkafka options for producers only."""

    @property
    def names_a_cluster(self) -> bool:
        """Whether somebody said where the cluster is, so that no broker of our own is needed."""
        return "bootstrap_servers" in self.model_fields_set

    def client(self) -> dict[str, Option | TokenSource]:
        """Return the configuration that all clients share. It holds secrets: never log it.

        Raises
        ------
        EddyError : there is no function of the name of `oauth_cb`.
        """
        config: dict[str, Option | TokenSource] = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.security_protocol,
            "log.connection.close": False,
        }
        optional = {
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.sasl_username,
            "sasl.password": self.sasl_password.get_secret_value() if self.sasl_password else None,
            "ssl.ca.location": self.ssl_ca_location,
            "ssl.certificate.location": self.ssl_certificate_location,
            "ssl.key.location": self.ssl_key_location,
            "ssl.key.password": self.ssl_key_password.get_secret_value() if self.ssl_key_password else None,
        }
        config.update({name: str(value) for name, value in optional.items() if value is not None})
        if self.oauth_cb is not None:
            config["oauth_cb"] = token_source(self.oauth_cb)
        return config | self.options


class TopicSettings(Section):
    """Where the topics are."""

    prefix: str = ""
    """Put before every topic's name: `shop-` makes `shop-events`."""
    folder: Path | None = None
    """Read and write file topics in this folder instead of Kafka."""
    partitions: int = Field(default=4, ge=1, le=1024)
    """Partitions of a topic that `eddy topics create` makes."""
    replication: int = Field(default=1, ge=1, le=16)
    """Copies of each partition that `eddy topics create` asks for: 3 in production."""


class RecoverySettings(Section):
    """Where state survives a crash."""

    folder: Path | None = None
    """The recovery store's folder, one sub-folder a flow; none: a crash starts from the log's beginning."""
    epoch_interval_s: int = Field(default=5, ge=0)
    """Seconds between snapshots of `recommend`: the flow rests while one is written, and a crash repeats so much."""
    learn_epoch_interval_s: int = Field(default=10, ge=0)
    """Seconds between snapshots of `learn`, which packs whole shards, and of `evaluate`: nobody waits for them."""
    partitions: int = Field(default=2, ge=1, le=4096)
    """Files that a store begins with. Each is synced to the disk at a snapshot, so many make a long pause; but a resume
    is quadratic in the users of one. A flow of one process gets more of them as it grows; for a cluster, which keeps
    this number, take 64 from 300,000 users a process on."""

    def epoch_s(self, flow: str) -> int:
        """Say how many seconds lie between two snapshots of a flow."""
        return self.epoch_interval_s if flow == "recommend" else self.learn_epoch_interval_s


class ClusterSettings(Section):
    """The processes that share one flow."""

    addresses: str = ""
    """`host:port` of every process, separated by `;`; empty: one process."""
    process_id: int = Field(default=0, ge=0)
    """This process's number in `addresses`, from 0."""

    @property
    def members(self) -> list[str]:
        """All processes' addresses, empty for one process."""
        return [address.strip() for address in self.addresses.split(";") if address.strip()]

    @property
    def n_processes(self) -> int:
        """How many processes there are."""
        return max(1, len(self.members))

    @property
    def process(self) -> int:
        """Number of this process; 0 where it is the only one, whatever number it had in a cluster."""
        return self.process_id if self.members else 0

    @model_validator(mode="after")
    def _check_place(self) -> "ClusterSettings":
        if self.members and self.process_id >= len(self.members):
            raise ValueError(
                f"process_id is {self.process_id}, but addresses has {len(self.members)} entries: "
                "number the processes from 0"
            )
        return self


class PrivacySettings(Section):
    """What stands for people in whatever is kept, and how their erasure is proved."""

    secrets: list[SecretStr] = Field(default_factory=list)
    """State is kept under pseudonyms made with these, the oldest first, as JSON; none: under user ids. All flows need
    the same. To lose one is to lose every profile."""
    signing_key: SecretStr | None = None
    """Signs the receipts of erasures (Ed25519): 32 bytes in base64, or the text of a PEM file; none: unsigned."""
    signing_key_file: Path | None = None
    """The same in a file."""
    max_erased: int = Field(default=1_000_000, ge=1)
    """Erased users whose older messages a process leaves out, some 300 bytes each; of more, the first are let go."""

    @model_validator(mode="after")
    def _check_keys(self) -> "PrivacySettings":
        if self.signing_key is not None and self.signing_key_file is not None:
            raise ValueError("signing_key and signing_key_file are two keys: keep one of them")
        if not all(secret.get_secret_value() for secret in self.secrets):
            raise ValueError("a secret is empty")
        return self


class HttpSettings(Section):
    """The health and metrics endpoint."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 where probes come from outside, as in a container."""
    port: int = Field(default=8080, ge=0, le=65535)
    """0 takes a free port."""
    enabled: bool = True
    """Whether there is an endpoint at all."""


Scope: TypeAlias = Literal["read", "write", "admin"]
STORE_SCHEMES = ("redis", "rediss", "postgresql", "postgres")


def _fault_of(url: str) -> str | None:
    """Say what is wrong with a store's URL, without a word of it: it may hold a password."""
    example = "redis://host:6379/0 or postgresql://user:password@host:5432/database"
    try:
        parts = urlsplit(url)
        named = parts.scheme in STORE_SCHEMES and "://" in url
        host, _ = parts.hostname, parts.port
    except ValueError:
        return f"this is no URL, as {example}: in a user or a password write % as %25, / as %2F, : as %3A, @ as %40"
    if not named:
        return f"this names no store that is known: give it as {example}, or leave it away for a file"
    return None if host else f"this names no host: give it as {example}"


class ServeSettings(Section):
    """The HTTP door, `eddy serve`."""

    host: str = "127.0.0.1"
    """Address to listen on. Any other than this machine's own needs tokens."""
    port: int = Field(default=8000, ge=0, le=65535)
    """0 takes a free port."""
    store: Path | None = None
    """File of the newest slates and the catalog, made from the topics where it is missing; none: a temporary one, which
    is made anew at each start."""
    store_url: SecretStr | None = None
    """A server that keeps them in place of a file, and that several doors may share: `redis://...`, `rediss://...` (the
    extra `redis`) or `postgresql://...` (the extra `postgres`); shown nowhere, since it may hold a password."""
    tokens: dict[Scope, list[SecretStr]] = Field(default_factory=dict)
    """Who may do what, by bearer token: `{"read": ["..."], "write": ["..."], "admin": ["..."]}`. `write` sends events
    and requests, `admin` changes items; each may do what those before it may. None: whoever reaches the door may do
    everything."""
    cors: list[str] = Field(default_factory=list)
    """Origins whose pages may call the door, as `["https://shop.example"]`."""
    wait_ms: int = Field(default=500, ge=1, le=60_000)
    """How long a request waits for its slate before it gets the user's newest one instead."""
    max_body_bytes: int = Field(default=1_000_000, ge=1_024)
    """A longer body is refused."""
    max_streams: int = Field(default=1_000, ge=1)
    """Streams of slates that may be open at a time."""
    max_connections: int = Field(default=2_000, ge=1)
    """Connections that are served at a time; others get 503."""

    @field_validator("store_url")
    @classmethod
    def _check_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and (fault := _fault_of(url.get_secret_value())):
            raise ValueError(fault)
        return url

    @model_validator(mode="after")
    def _check_tokens(self) -> "ServeSettings":
        if any(not token.get_secret_value().strip() for tokens in self.tokens.values() for token in tokens):
            raise ValueError("tokens has an empty one, which anybody knows: give each a long random word, or none")
        if self.host not in LOOPBACK and not any(self.tokens.values()):
            raise ValueError(
                f"host is {self.host}, which others can reach, and there are no tokens: set EDDY_SERVE__TOKENS, as "
                """'{"read": ["a long random word"]}', or listen on 127.0.0.1"""
            )
        return self
