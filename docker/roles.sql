-- The roles of the database of docker-compose.yml, made with it: the owner of the tables, and one that may only read.
-- After the first lines it is what `vo db roles` prints there.
\getenv password POSTGRES_PASSWORD
CREATE ROLE vo LOGIN PASSWORD :'password';
ALTER DATABASE vo OWNER TO vo;
CREATE ROLE vo_reader LOGIN CONNECTION LIMIT 50;
ALTER ROLE vo_reader SET default_transaction_read_only = on;
ALTER ROLE vo_reader SET statement_timeout = '5min';
ALTER ROLE vo_reader SET temp_file_limit = '20GB';
REVOKE ALL ON DATABASE "vo" FROM PUBLIC;
GRANT CONNECT ON DATABASE "vo" TO vo_reader;
GRANT ALL ON DATABASE "vo" TO "vo";
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO vo_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO vo_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE "vo" IN SCHEMA public GRANT SELECT ON TABLES TO vo_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE "vo" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
GRANT ALL ON SCHEMA public TO "vo";
DO $$ DECLARE f regprocedure; BEGIN
  FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND (
    proname ~ '^pg_(try_)?advisory_' OR proname ~ '^lo_' OR proname IN ('lowrite', 'set_config',
      'pg_cancel_backend', 'pg_terminate_backend', 'pg_notify', 'pg_export_snapshot', 'pg_logical_emit_message')) LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO "vo"', f);
  END LOOP;
END $$;
ALTER ROLE vo_reader PASSWORD :'password';
