"""Logins from AWS: Secrets Manager, Parameter Store, and tokens of IAM.

boto3 is the extra `aws-credentials`; Lambda's own runtime has it. It is imported at the first
connection.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from dal.credentials import Login
from dal.errors import ConfigurationError

#: Seconds that a fetched secret is believed while the server takes it.
SECRET_LIFE = 3600.0

# A token is good for 15 minutes (https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/
# UsingWithRDS.IAMDBAuth.html); half a minute is left for clocks that differ.
_TOKEN_SECONDS = 900
_TOKEN_LIFE = _TOKEN_SECONDS - 30.0

# An answer that takes longer would eat the time of the invocation.
_LIMITS = {"connect_timeout": 2, "read_timeout": 2, "retries": {"total_max_attempts": 2}}


class _Fetched:
    """A login that is fetched, kept while the server takes it, and fetched anew once it does not.

    By the wall clock: the monotonic one may stand still while a function is frozen.
    """

    service: str

    def __init__(self, name: str, *, user: str = "", client: Any = None) -> None:
        """Take the name or ARN, and for a secret that is a bare password the user.

        Args:
            name: Name or ARN of the secret or parameter.
            user: The user where the secret is no JSON object with `username`.
            client: A client of boto3; by default one with short timeouts, made at first use.
        """
        self._name = name
        self._user = user
        self._client = client
        self._login: Login | None = None
        self._fetched_at = 0.0

    def __call__(self, address: str, refused: Login | None = None) -> Login:
        """Return the login; past what is kept if that is the one that was refused.

        Raises:
            ConfigurationError: what is stored there is no login.
            botocore's errors: it could not be fetched.
        """
        del address
        is_old = abs(time.time() - self._fetched_at) > SECRET_LIFE
        if self._login is None or self._login == refused or is_old:
            self._login = self._parsed(self._fetch())
            self._fetched_at = time.time()
        return self._login

    def _fetch(self) -> str:
        raise NotImplementedError

    def _parsed(self, text: str) -> Login:
        try:
            content = json.loads(text)
        except ValueError:
            content = text
        if isinstance(content, dict):
            user, password = content.get("username", self._user), content.get("password")
        else:
            user, password = self._user, text  # a password such as 12345 is JSON, too
        if not (isinstance(user, str) and user and isinstance(password, str) and password):
            raise ConfigurationError(
                f"the {self.service} entry {self._name!r} is no login: store a JSON object with "
                "username and password, or the password alone and set DB_USER"
            )
        return Login(user, password)

    def _boto(self) -> Any:
        if self._client is None:
            self._client = _client(self.service)
        return self._client


class SecretsManager(_Fetched):
    """The current version of a secret, as RDS and its rotation functions write it."""

    service = "secretsmanager"

    def _fetch(self) -> str:
        answer = self._boto().get_secret_value(SecretId=self._name, VersionStage="AWSCURRENT")
        text: str = answer["SecretString"]
        return text


class ParameterStore(_Fetched):
    """A parameter of Systems Manager, decrypted."""

    service = "ssm"

    def _fetch(self) -> str:
        answer = self._boto().get_parameter(Name=self._name, WithDecryption=True)
        text: str = answer["Parameter"]["Value"]
        return text


class IAMToken:
    """A token of IAM database authentication, for the address that is connected to.

    Signed here, without a request. The server asks for it in clear text, so the settings must have
    `tls="verify"`.
    """

    def __init__(self, user: str, *, region: str | None = None) -> None:
        """Take the user that was created with AWSAuthenticationPlugin, and its region.

        Args:
            user: The database user.
            region: By default `AWS_REGION`, which Lambda sets.
        """
        self._user = user
        self._region = region
        self._signer: Any = None
        self._tokens: dict[str, tuple[Login, float]] = {}

    def __call__(self, address: str, refused: Login | None = None) -> Login:
        """Return a token that is good for this address; a new one if this was refused.

        Raises:
            ConfigurationError: no region, or no credentials of AWS.
        """
        login, made_at = self._tokens.get(address, (None, 0.0))
        if login is None or login == refused or not 0 <= time.time() - made_at < _TOKEN_LIFE:
            login = Login(self._user, self._signed(address))
            self._tokens[address] = login, time.time()
        return login

    def _signed(self, address: str) -> str:
        region = self._region or os.environ.get("AWS_REGION")
        if not region:
            raise ConfigurationError("an IAM token needs the region: set AWS_REGION")
        if self._signer is None:
            self._signer = _signer(region)
        url: str = self._signer.generate_presigned_url(
            {
                "method": "GET",
                "url": f"https://{address}/?Action=connect&DBUser={_quoted(self._user)}",
                "body": {},
                "headers": {},
                "context": {},
            },
            operation_name="",
            expires_in=_TOKEN_SECONDS,
            region_name=region,
        )
        return url.removeprefix("https://")


def _quoted(user: str) -> str:
    from urllib.parse import quote  # noqa: PLC0415  # for those who ask

    return quote(user, safe="")


def _client(service: str) -> Any:
    try:
        import boto3  # noqa: PLC0415  # for those who ask
        from botocore.config import Config  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(_NO_BOTO3) from None
    return boto3.client(service, config=Config(**_LIMITS))


def _signer(region: str) -> Any:
    # Not a client: that reads models of the service, which takes as long as all else together.
    try:
        from botocore.model import ServiceId  # noqa: PLC0415  # for those who ask
        from botocore.session import get_session  # noqa: PLC0415
        from botocore.signers import RequestSigner  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(_NO_BOTO3) from None
    session = get_session()
    credentials = session.get_credentials()
    if credentials is None:
        raise ConfigurationError("an IAM token needs credentials of AWS, and there are none here")
    emitter = session.get_component("event_emitter")
    return RequestSigner(ServiceId("RDS"), region, "rds-db", "v4", credentials, emitter)


_NO_BOTO3 = "these credentials need boto3: pip install 'lambda-dal[aws-credentials]'"
