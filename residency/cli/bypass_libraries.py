"""Client libraries by what they reach: a name that is imported or called in, what it is and how to bring it in out.

A list, and so never whole: what is not on it is not told. Names of functions stand where only these reach out.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

__all__ = ["GROUPS", "Group", "group_of"]


@dataclass(frozen=True, slots=True)
class Group:
    """Clients of one kind. `what` = what they reach; `mend` = how to bring it in.

    `modules` reach out however they are used, `calls` where these are called; both by their dotted names.
    """

    what: str
    mend: str
    modules: frozenset[str]
    calls: frozenset[str] = frozenset()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _each(module: str, names: str) -> frozenset[str]:
    return frozenset(f"{module}.{name}" for name in names.split())


_ENGINES: Final = "create_engine create_async_engine create_pool_from_url engine_from_config async_engine_from_config"
_VERBS: Final = "get post put patch delete head options request stream"

GROUPS: Final = (
    Group(
        "a database through an engine of the app's own",
        "`sql.async_sessionmaker(STORE)` in the place of the engine: docs/how-to/rows.md",
        frozenset(),
        _each("sqlalchemy", _ENGINES)
        | _each("sqlalchemy.engine", _ENGINES)
        | _each("sqlalchemy.ext.asyncio", _ENGINES)
        | _each("sqlmodel", _ENGINES),
    ),
    Group(
        "a database past SQLAlchemy",
        "keep people's rows in a store and open it by `sql.async_sessionmaker(STORE)`: docs/how-to/rows.md; what holds "
        "nobody's data may stay",
        _words(
            """
            psycopg psycopg2 psycopg_pool asyncpg aiopg pymysql aiomysql asyncmy MySQLdb mysql.connector mariadb
            sqlite3 aiosqlite oracledb cx_Oracle pyodbc aioodbc pymssql databases tortoise peewee pony piccolo gino
            clickhouse_connect clickhouse_driver asynch cassandra duckdb snowflake.connector google.cloud.bigquery
            google.cloud.spanner google.cloud.firestore google.cloud.bigtable firebase_admin pymongo motor
            mongoengine beanie odmantic neo4j influxdb_client couchbase elasticsearch opensearchpy meilisearch
            typesense algoliasearch pinecone qdrant_client weaviate chromadb pymilvus azure.cosmos supabase libsql
            edgedb gel surrealdb
            """
        ),
    ),
    Group(
        "files and objects elsewhere",
        "a store of objects, `current().store(STORE)`: docs/how-to/objects.md",
        _words(
            """
            boto3 botocore aioboto3 aiobotocore s3fs s3transfer minio miniopy_async google.cloud.storage gcsfs
            gcloud.aio.storage azure.storage adlfs obstore fsspec smart_open cloudinary dropbox ftplib aioftp
            paramiko asyncssh pysftp storages webdav3
            """
        ),
    ),
    Group(
        "a cache",
        "a store of caches, `current().store(STORE)`: docs/how-to/caches.md",
        _words(
            """
            redis valkey aioredis coredis redis_om fakeredis pymemcache aiomcache memcache pylibmc aiocache
            fastapi_cache flask_caching dogpile.cache starsessions
            """
        ),
    ),
    Group(
        "queues and workers",
        "a queue of a store, `current().store(STORE).push(…)`: docs/how-to/caches.md; or nothing but ids in its jobs",
        _words(
            """
            celery kombu pika aio_pika aiormq kafka aiokafka confluent_kafka faststream rq arq saq taskiq dramatiq
            huey procrastinate nats stomp paho.mqtt aiomqtt google.cloud.pubsub google.cloud.tasks azure.servicebus
            azure.eventhub pulsar zmq
            """
        ),
    ),
    Group(
        "models and AI services",
        "give its SDK our transport, `httpx.AsyncClient(transport=http.Transport(STORE))`: "
        "docs/how-to/outgoing-calls.md",
        _words(
            """
            openai anthropic google.genai google.generativeai google.cloud.aiplatform vertexai cohere mistralai groq
            together replicate litellm ollama huggingface_hub fireworks xai_sdk voyageai langchain_openai
            langchain_anthropic langchain_google_genai langchain_google_vertexai langchain_aws langchain_community
            llama_index pydantic_ai azure.ai dashscope zhipuai elevenlabs deepgram assemblyai
            """
        ),
    ),
    Group(
        "mail, messages and calls to people",
        "a sink of services and `current().http(STORE)` where the provider has an HTTP API: "
        "docs/how-to/outgoing-calls.md; SMTP stays uncovered: a relay in the country, or no personal data",
        _words(
            """
            smtplib aiosmtplib imaplib poplib fastapi_mail sendgrid postmarker mailchimp_transactional mailersend
            resend sparkpost twilio vonage messagebird plivo slack_sdk telegram aiogram telethon discord onesignal
            pyfcm aioapns exponent_server_sdk zulip ldap3
            """
        )
        | {"django.core.mail"},
    ),
    Group(
        "errors, traces, logs and analytics elsewhere",
        "an instance of it in the country, or none of people's data in what it sends (its own scrubbing); not covered",
        _words(
            """
            sentry_sdk raven rollbar bugsnag honeybadger newrelic ddtrace datadog elasticapm logfire
            opentelemetry.exporter google.cloud.logging google.cloud.error_reporting watchtower logtail loki_logger
            posthog mixpanel amplitude segment statsd pyroscope langfuse langsmith influxdb
            """
        ),
        _each("logging.handlers", "SysLogHandler HTTPHandler SMTPHandler SocketHandler DatagramHandler"),
    ),
    Group(
        "payments and other services by their own SDKs",
        "a sink of services and `current().http(STORE)`: docs/how-to/outgoing-calls.md",
        _words(
            """
            stripe braintree paypalrestsdk adyen square plaid razorpay zalopay hubspot salesforce simple_salesforce
            zeep suds googleapiclient gspread shopify auth0 keycloak okta workos clerk_backend_api jira
            notion_client azure.communication github
            """
        ),
    ),
    Group(
        "HTTP past our transport",
        "`current().http(STORE)` or `http.AsyncClient(STORE)`: docs/how-to/outgoing-calls.md",
        _words(
            """
            pycurl curl_cffi niquests grequests httplib2 treq asks tls_client primp gql sgqlc
            """
        ),
        _each("httpx", f"Client AsyncClient {_VERBS}")
        | _each("httpx2", f"Client AsyncClient {_VERBS}")
        | _each("requests", f"Session session {_VERBS}")
        | _each("aiohttp", "ClientSession request")
        | _each("aiohttp.client", "ClientSession")
        | _each("urllib3", "PoolManager ProxyManager HTTPConnectionPool HTTPSConnectionPool request")
        | _each("urllib.request", "urlopen urlretrieve build_opener")
        | _each("http.client", "HTTPConnection HTTPSConnection")
        | _each("tornado.httpclient", "AsyncHTTPClient HTTPClient")
        | _each("websockets", "connect")
        | _each("websocket", "create_connection WebSocketApp")
        | _each("grpc", "insecure_channel secure_channel")
        | _each("grpc.aio", "insecure_channel secure_channel"),
    ),
    Group(
        "a socket or another program",
        "see that no personal data goes there: nothing of it is covered",
        frozenset({"telnetlib", "xmlrpc.client"}),
        _each("socket", "create_connection socket")
        | _each("asyncio", "open_connection open_unix_connection create_subprocess_exec create_subprocess_shell")
        | _each("anyio", "connect_tcp connect_unix run_process open_process")
        | _each("subprocess", "run Popen call check_call check_output")
        | _each("os", "system popen"),
    ),
)
_MODULES: Final = {module: group for group in GROUPS for module in group.modules}
_CALLS: Final = {call: group for group in GROUPS for call in group.calls}


def group_of(name: str, *, called: bool) -> tuple[str, Group] | None:
    """(the library, its group) of a dotted name that is imported or, if `called`, called; None = none that is known."""
    if called and name in _CALLS:
        module, _, _ = name.rpartition(".")
        first = module.partition(".")[0]
        return module if first in sys.stdlib_module_names else first, _CALLS[name]
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        group = _MODULES.get(".".join(parts[:end]))
        if group is not None:
            return ".".join(parts[:end]), group
    return None
