"""Django's ORM on mysqlclient, the driver in C that its documentation recommends.

https://docs.djangoproject.com/en/5.2/ref/databases/#mysql-notes
Connections are closed at the end of each invocation, as Django does at the end of a request.
"""

import address
import django
from django.conf import settings

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.mysql",
            "HOST": address.HOST,
            "PORT": address.PORT,
            "USER": address.USER,
            "PASSWORD": address.PASSWORD,
            "NAME": address.NAME,
            "CONN_MAX_AGE": 0,
            "OPTIONS": {
                "isolation_level": "read committed",
                **(
                    {"ssl_mode": "VERIFY_IDENTITY", "ssl": {"ca": address.CA}}
                    if address.CA
                    else {"ssl_mode": "DISABLED"}
                ),
            },
        }
    },
    INSTALLED_APPS=[],
    USE_TZ=True,
)
django.setup()

from django.db import connection, models, transaction


class Account(models.Model):
    owner = models.CharField(max_length=50)
    balance = models.IntegerField()

    class Meta:
        app_label = "bank"
        db_table = "account"
        managed = False


class Transfer(models.Model):
    source = models.BigIntegerField()
    target = models.BigIntegerField()
    amount = models.IntegerField()

    class Meta:
        app_label = "bank"
        db_table = "transfer"
        managed = False


class Entry(models.Model):
    id = models.BigIntegerField(primary_key=True)
    owner = models.CharField(max_length=50)
    balance = models.IntegerField()

    class Meta:
        app_label = "bank"
        db_table = "entry"
        managed = False


class Line(models.Model):
    id = models.BigIntegerField(primary_key=True)
    owner = models.CharField(max_length=50)
    balance = models.IntegerField()

    class Meta:
        app_label = "bank"
        db_table = "line"
        managed = False


def request(function):
    def handler(event, context):
        try:
            return function(event)
        finally:
            connection.close()

    return handler


def shown(row):
    return {"id": row.id, "owner": row.owner, "balance": row.balance}


@request
def read_one(event):
    return shown(Account.objects.get(pk=event["id"]))


@request
def read_100(event):
    return {"rows": [shown(account) for account in Account.objects.order_by("id")[:100]]}


@request
@transaction.atomic
def insert_one(event):
    return {"id": Transfer.objects.create(**event).id}


@request
@transaction.atomic
def read_modify_write(event):
    account = Account.objects.select_for_update().get(pk=event["source"])
    account.balance += event["amount"]
    account.save(update_fields=["balance"])
    return {"balance": account.balance}


@request
@transaction.atomic
def five_statements(event):
    source = Account.objects.get(pk=event["source"])
    target = Account.objects.get(pk=event["target"])
    source.balance -= event["amount"]
    target.balance += event["amount"]
    source.save(update_fields=["balance"])
    target.save(update_fields=["balance"])
    Transfer.objects.create(**event)
    return {}


@request
@transaction.atomic
def bulk_insert(event):
    rows = [Entry(**row) for row in event["rows"]]
    return {"count": len(Entry.objects.bulk_create(rows, batch_size=10_000))}


@request
@transaction.atomic
def bulk_upsert(event):
    Entry.objects.bulk_create(
        [Entry(**row) for row in event["rows"]],
        batch_size=10_000,
        update_conflicts=True,
        update_fields=["owner", "balance"],
    )
    return {}


@request
@transaction.atomic
def bulk_update(event):
    rows = [Entry(id=row["id"], balance=row["balance"]) for row in event["rows"]]
    Entry.objects.bulk_update(rows, ["balance"], batch_size=1000)
    return {}


@request
@transaction.atomic
def bulk_purge(event):
    return {"count": Entry.objects.filter(balance__gte=event["from"]).delete()[0]}


@request
def stream(event):
    rows = Line.objects.filter(id__lte=event["rows"]).values_list("id", "owner", "balance")
    return {"total": sum(balance for _, _, balance in rows.iterator(chunk_size=2000))}


@request
def page(event):
    end = event["after"] + event["limit"]
    return {"rows": [shown(line) for line in Line.objects.order_by("id")[event["after"] : end]]}
