"""Who may do what in a database: one role owns the tables, another may only read them.

Neither is a superuser. The embedded server gets both when it is started; `statements` says the same in SQL for
a server that somebody else runs.
"""

from __future__ import annotations

from virtualobserver.db import driver

__all__ = ["DATABASE", "OWNER", "READER", "prepare", "statements"]

DATABASE = "vo"
OWNER = "vo_owner"
READER = "vo_reader"
MARK = "virtualobserver: roles 1"
"""Comment of a database whose roles are set up; a change below needs another number."""

#: Functions that everybody may call, and that do more than answer: they change settings such as a time limit,
#: hold locks, write, or disturb the queries of others.
_ACTING = """
    proname ~ '^pg_(try_)?advisory_' OR proname ~ '^lo_' OR proname IN ('lowrite', 'set_config',
      'pg_cancel_backend', 'pg_terminate_backend', 'pg_notify', 'pg_export_snapshot', 'pg_logical_emit_message')"""

_ROLES = """
CREATE ROLE {owner} LOGIN;
CREATE ROLE {reader} LOGIN CONNECTION LIMIT 50;
ALTER ROLE {reader} SET default_transaction_read_only = on;
ALTER ROLE {reader} SET statement_timeout = '5min';
ALTER ROLE {reader} SET temp_file_limit = '20GB';"""

_DATABASE = """
ALTER DATABASE {database} OWNER TO {owner};
REVOKE ALL ON DATABASE {database} FROM PUBLIC;
GRANT CONNECT ON DATABASE {database} TO {reader};"""

_SCHEMA = """
ALTER SCHEMA public OWNER TO {owner};
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO {reader};
GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT SELECT ON TABLES TO {reader};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;"""

_FUNCTIONS = """
DO $$ DECLARE f regprocedure; BEGIN
  FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND ({acting}) LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO {owner}', f);
  END LOOP;
END $$;"""

# Folders made when the superuser owned everything. Sequences and indexes follow their table.
_HANDED_OVER = """
DO $$ DECLARE t regclass; BEGIN
  FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'p') LOOP
    EXECUTE format('ALTER TABLE %s OWNER TO {owner}', t);
  END LOOP;
END $$;"""


def prepare(host: str, superuser: str) -> None:
    """Give the embedded server at ``host`` its database and roles, unless it has them.

    What was made when the superuser owned everything is handed over to the owner.
    """
    with driver.administering(host, superuser, "postgres") as execute:
        mark = execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (DATABASE,)
        )
        if mark == [(MARK,)]:
            return
        known = {name for (name,) in execute("SELECT rolname FROM pg_roles")}
        if not {OWNER, READER} <= known:
            execute(_filled(_ROLES))
        if not mark:
            execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    with driver.administering(host, superuser, DATABASE) as execute:
        steps = (_DATABASE, _HANDED_OVER, _SCHEMA, _FUNCTIONS, f"COMMENT ON DATABASE {DATABASE} IS '{MARK}';")
        execute("\n".join(map(_filled, steps)))  # one transaction: all of it or nothing


def statements(*, database: str, owner: str) -> str:
    """Return SQL for the superuser of another server: a reader of ``database``, whose tables ``owner`` owns."""
    names = {"database": driver.quoted(database), "owner": driver.quoted(owner)}
    reader = [line for line in _ROLES.strip().splitlines() if OWNER not in line and "{owner}" not in line]
    schema = [line for line in _SCHEMA.strip().splitlines() if not line.startswith("ALTER SCHEMA")]
    database_ = [line for line in _DATABASE.strip().splitlines() if not line.startswith("ALTER")]
    granted = f"GRANT ALL ON DATABASE {names['database']} TO {names['owner']};"
    used = f"GRANT ALL ON SCHEMA public TO {names['owner']};"
    lines = [*reader, *database_, granted, *schema, used, _FUNCTIONS.strip()]
    return "\n".join(_filled(line, **names) for line in lines)


def _filled(template: str, *, database: str = DATABASE, owner: str = OWNER) -> str:
    parts = {"{database}": database, "{owner}": owner, "{reader}": READER, "{acting}": _ACTING}
    for mark, value in parts.items():
        template = template.replace(mark, value)
    return template
