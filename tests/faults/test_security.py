"""TLS, SASL/SCRAM and an authorizer for real: a user a flow, with the rights that `eddy doctor --acls` names."""

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from dataflows.demo.broker import KraftBroker, running
from dataflows.demo.broker_process import free_port
from dataflows.kafka import rights
from dataflows.topics import FLOWS
from tests.faults.scene import Scene, last_words

Tell = Callable[[str], None]
PASSWORD = "correct-horse"  # noqa: S105 - of a broker that lives as long as the test

PROPERTIES = """
listeners=PLAINTEXT://127.0.0.1:{port},SSL://127.0.0.1:{ssl},SASL_SSL://127.0.0.1:{sasl},TOKENS://127.0.0.1:{tokens},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SSL://127.0.0.1:{ssl},SASL_SSL://127.0.0.1:{sasl},TOKENS://127.0.0.1:{tokens}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,TOKENS:SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.tokens.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.tokens.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer\\
    .OAuthBearerLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.crt
ssl.client.auth=requested
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=false
"""


class SecureBroker(KraftBroker):
    """Apache Kafka with listeners for TLS, for passwords and for tokens over TLS, and an authorizer; who comes without
    any may do all."""

    def __init__(self, kafka_home: Path, folder: Path) -> None:
        self.ssl_port, self.sasl_port, self.token_port = free_port(), free_port(), free_port()
        super().__init__(kafka_home, folder)
        certificates(folder)
        self._properties = PROPERTIES.format(
            port=self.port, ssl=self.ssl_port, sasl=self.sasl_port, tokens=self.token_port,
            controller=self._controller_port, folder=folder,
        )  # fmt: skip


def certificates(folder: Path) -> None:
    """Make an authority, the broker's certificate and a client's, all good for a day."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, capture_output=True, check=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=test authority",
            "-keyout", "ca.key", "-out", "ca.crt")  # fmt: skip
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost")
    for name in ("broker", "client"):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
                "-out", f"{name}.csr")  # fmt: skip
        openssl("x509", "-req", "-days", "1", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                "-CAcreateserial", "-extfile", "san", "-out", f"{name}.crt")  # fmt: skip
    pem = "".join((folder / name).read_text() for name in ("broker.key", "broker.crt", "ca.crt"))
    (folder / "broker.pem").write_text(pem)


@pytest.fixture(scope="module")
def secure(kafka_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    with running(SecureBroker(kafka_home, tmp_path_factory.mktemp("secure"))) as broker:
        assert isinstance(broker, SecureBroker)
        yield broker


@pytest.fixture
def scene(secure: SecureBroker, tmp_path: Path) -> Iterator[Scene]:
    with Scene(secure.broker.bootstrap_servers, tmp_path) as made:
        yield made


def over_sasl(secure: SecureBroker, user: str, password: str = PASSWORD) -> dict[str, str]:
    return {
        "EDDY_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{secure.sasl_port}",
        "EDDY_KAFKA__SECURITY_PROTOCOL": "sasl_ssl",
        "EDDY_KAFKA__SASL_MECHANISM": "SCRAM-SHA-512",
        "EDDY_KAFKA__SASL_USERNAME": user,
        "EDDY_KAFKA__SASL_PASSWORD": password,
        "EDDY_KAFKA__SSL_CA_LOCATION": str(secure.folder / "ca.crt"),
    }


def add_user(scene: Scene, name: str) -> None:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4_096)
    asked = scene.admin.alter_user_scram_credentials([UserScramCredentialUpsertion(name, info, PASSWORD.encode())])
    asked[name].result()


def allow(admin: AdminClient, principal: str, given: rights.Right) -> None:
    kind = {"topic": "TOPIC", "group": "GROUP", "transactional-id": "TRANSACTIONAL_ID"}[given.kind]
    pattern = ResourcePatternType.PREFIXED if given.is_prefix else ResourcePatternType.LITERAL
    bindings = []
    for operation in given.operations:
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).upper()
        bindings.append(
            AclBinding(
                ResourceType[kind], given.name, pattern, principal, "*",
                AclOperation[name], AclPermissionType.ALLOW,
            )
        )  # fmt: skip
    for done in admin.create_acls(bindings).values():
        done.result()


def with_rights(scene: Scene, flow: str) -> str:
    """Add a flow's user with what the flow needs; return its name."""
    user = f"{scene.prefix}{flow}"
    add_user(scene, user)
    for right in rights.needed(flow, scene.prefix):
        allow(scene.admin, f"User:{user}", right)
    return user


def test_wrong_password(secure: SecureBroker, scene: Scene, tell: Tell) -> None:
    add_user(scene, "somebody")
    flow = scene.flow(**over_sasl(secure, "somebody", "wrong-battery"))
    seen = last_words(flow, "no Kafka broker answers", "uthentication")
    assert "wrong-battery" not in flow.log.read_text()
    tell(seen)


def test_certificate_that_nobody_we_trust_has_signed(secure: SecureBroker, scene: Scene, tell: Tell) -> None:
    flow = scene.flow(EDDY_KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{secure.ssl_port}", EDDY_KAFKA__SECURITY_PROTOCOL="ssl")
    tell(last_words(flow, "no Kafka broker answers", "ertificate"))


def test_a_flow_without_rights(secure: SecureBroker, scene: Scene, tell: Tell) -> None:
    add_user(scene, "nobody")
    tell(last_words(scene.flow(**over_sasl(secure, "nobody")), "missing", "eddy doctor --acls"))


def test_a_flow_over_tls_with_certificates_on_both_sides(secure: SecureBroker, scene: Scene, tell: Tell) -> None:
    for right in rights.needed("recommend", scene.prefix):
        allow(scene.admin, "User:CN=client", right)
    flow = scene.flow(
        EDDY_KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{secure.ssl_port}",
        EDDY_KAFKA__SECURITY_PROTOCOL="ssl",
        EDDY_KAFKA__SSL_CA_LOCATION=str(secure.folder / "ca.crt"),
        EDDY_KAFKA__SSL_CERTIFICATE_LOCATION=str(secure.folder / "client.crt"),
        EDDY_KAFKA__SSL_KEY_LOCATION=str(secure.folder / "client.key"),
    )
    scene.platform.write(200)
    tell(scene.drain_and_count(flow))


TOKENS = '''
"""Tokens as Apache Kafka takes them without a signature, which nobody would do outside of a test."""
import base64, json, time

def token(config):
    now = time.time()
    parts = {"alg": "none"}, {"sub": config, "iat": now, "exp": now + 3_600}
    packed = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    return ".".join(packed) + ".", now + 3_600
'''


def test_a_flow_whose_tokens_come_from_a_function_of_ones_own(
    secure: SecureBroker, scene: Scene, tell: Tell, tmp_path: Path
) -> None:
    user = f"{scene.prefix}recommend"
    for right in rights.needed("recommend", scene.prefix):
        allow(scene.admin, f"User:{user}", right)
    (tmp_path / "company_tokens.py").write_text(TOKENS)
    flow = scene.flow(
        EDDY_KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{secure.token_port}",
        EDDY_KAFKA__SECURITY_PROTOCOL="sasl_ssl",
        EDDY_KAFKA__SASL_MECHANISM="OAUTHBEARER",
        EDDY_KAFKA__OAUTH_CB="company_tokens:token",
        EDDY_KAFKA__OPTIONS=json.dumps({"sasl.oauthbearer.config": user}),
        EDDY_KAFKA__SSL_CA_LOCATION=str(secure.folder / "ca.crt"),
        PYTHONPATH=str(tmp_path),
    )
    scene.platform.write(200)
    tell(scene.drain_and_count(flow))


def test_three_flows_with_a_user_each_who_may_do_no_more_than_it_needs(
    secure: SecureBroker, scene: Scene, tell: Tell
) -> None:
    settings = {flow: over_sasl(secure, with_rights(scene, flow)) for flow in FLOWS}
    flows = {
        flow: scene.flow(flow, EDDY_RECOVERY__LEARN_EPOCH_INTERVAL_S="1", EDDY_EVALUATE__PUBLISH_EVERY_S="1", **given)
        for flow, given in settings.items()
    }
    scene.platform.write(200)
    scene.platform.write_raw(b"{")
    scene.platform.wait_for("recommendations", 200)
    scene.platform.wait_for("model-updates", 30)
    scene.platform.wait_for("experiment-results", 1)
    # Killed and started again: what it reads back, it may read.
    flows["recommend"].end(signal.SIGKILL)
    flows["recommend"].start()
    scene.platform.write(200)
    seen = scene.drain_and_count(flows["recommend"])
    for flow in ("learn", "evaluate"):
        assert flows[flow].end(signal.SIGTERM) == 0, flows[flow].log.read_text()
    tell(seen)


@pytest.mark.parametrize("flow", FLOWS)
def test_doctor_says_what_a_user_lacks(secure: SecureBroker, scene: Scene, tell: Tell, flow: str) -> None:
    user = with_rights(scene, flow)
    client: dict[str, Any] = {
        "bootstrap.servers": f"127.0.0.1:{secure.sasl_port}",
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": PASSWORD,
        "ssl.ca.location": str(secure.folder / "ca.crt"),
    }
    assert rights.missing(client, flow, scene.prefix) == []
    others = {other: rights.missing(client, other, scene.prefix) for other in FLOWS if other != flow}
    assert all(others.values())
    tell(f"{user.removeprefix(scene.prefix)} may do what it needs, and lacks {[len(lack) for lack in others.values()]} "
         "rights of the others")  # fmt: skip
