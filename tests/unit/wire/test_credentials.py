"""Who a connection logs in as: what is refused at construction, and what never shows."""

import pickle
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from dal import ConfigurationError
from dal.aws.credentials import IAMToken
from dal.credentials import Login
from dal.engine import Settings

ADDRESS = {"host": "db.example.com", "database": "shop"}


def secret(address, refused):
    return Login("shop", "s3cret")


class TestALogin:
    def test_shows_no_password(self):
        assert "s3cret" not in repr(Login("shop", "s3cret")) + str(Login("shop", b"s3cret"))

    def test_is_not_pickled(self):
        with pytest.raises(TypeError, match="not pickled") as refused:
            pickle.dumps(Login("shop", "s3cret"))
        assert "s3cret" not in str(refused.value)


class TestSettings:
    @pytest.mark.parametrize("given", ["secretsmanager:prod/db", "ssm:/prod/db", secret])
    def test_need_no_user_where_the_credentials_name_one(self, given):
        assert Settings(**ADDRESS, user="", credentials=given).user == ""

    def test_need_a_user_for_a_token(self):
        with pytest.raises(ConfigurationError, match="DB_USER"):
            Settings(**ADDRESS, user="", credentials="iam")

    @pytest.mark.parametrize(
        "given", ["", "secretsmanager", "secretsmanager:", "iam:shop", "vault:db", "S3cret", 5]
    )
    def test_refuse_what_names_no_credentials(self, given):
        with pytest.raises(ConfigurationError, match="DAL_CREDENTIALS") as refused:
            Settings(**ADDRESS, user="shop", credentials=given)
        assert "S3cret" not in str(refused.value)

    def test_refuse_a_password_beside_them(self):
        with pytest.raises(ConfigurationError, match="both set"):
            Settings(**ADDRESS, user="shop", password="s3cret", credentials=secret)

    @pytest.mark.parametrize("tls", ["unverified", "disabled"])
    def test_refuse_a_token_without_verified_tls(self, tls):
        with pytest.raises(ConfigurationError, match="tls='verify'"):
            Settings(**ADDRESS, user="shop", tls=tls, credentials="iam")

    def test_come_from_the_environment(self):
        found = Settings.from_env(
            {"DB_HOST": "db.example.com", "DB_NAME": "shop", "DAL_CREDENTIALS": "ssm:/prod/db"}
        )
        assert found.credentials == "ssm:/prod/db"

    def test_show_none_of_it(self):
        assert "ssm" not in repr(Settings(**ADDRESS, user="", credentials="ssm:/prod/db"))


class TestAToken:
    @pytest.fixture(autouse=True)
    def role(self, monkeypatch):
        for name, value in {
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "example",
            "AWS_SESSION_TOKEN": "session",
            "AWS_REGION": "eu-west-1",
        }.items():
            monkeypatch.setenv(name, value)

    def test_is_signed_for_the_address_and_the_user(self):
        login = IAMToken("shop@x")("db.example.com:3307", None)
        assert login.user == "shop@x"
        parts = urlsplit("https://" + login.password)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert (parts.netloc, parts.path) == ("db.example.com:3307", "/")
        assert (query["Action"], query["DBUser"], query["X-Amz-Expires"]) == (
            *("connect", "shop@x"),
            "900",
        )
        assert "/eu-west-1/rds-db/aws4_request" in query["X-Amz-Credential"]
        assert query["X-Amz-Security-Token"] == "session"
        assert len(query["X-Amz-Signature"]) == 64

    def test_is_the_one_that_boto3s_client_makes(self):
        import boto3

        made = IAMToken("shop")("db.example.com:3306", None).password
        client = boto3.Session().client("rds", region_name="eu-west-1")
        theirs = client.generate_db_auth_token("db.example.com", 3306, "shop")
        for moment in ("X-Amz-Date", "X-Amz-Signature"):  # of two seconds, perhaps
            made, theirs = (
                "&".join(part for part in text.split("&") if not part.startswith(moment))
                for text in (made, theirs)
            )
        assert made == theirs

    def test_is_used_again_until_it_nears_its_end(self, monkeypatch):
        tokens, now = IAMToken("shop"), time.time()
        monkeypatch.setattr("dal.aws.credentials.time.time", lambda: now)
        first = tokens("db:3306", None)
        assert tokens("db:3306", None) is first
        assert tokens("other:3306", None) != first
        now += 869
        assert tokens("db:3306", None) is first
        now += 2
        assert tokens("db:3306", None) is not first

    def test_that_was_refused_is_made_anew(self):
        tokens = IAMToken("shop")
        first = tokens("db:3306", None)
        assert tokens("db:3306", first) is not first

    def test_wants_a_region(self, monkeypatch):
        monkeypatch.delenv("AWS_REGION")
        with pytest.raises(ConfigurationError, match="AWS_REGION"):
            IAMToken("shop")("db:3306", None)
