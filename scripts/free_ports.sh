# Sourced: gives the run that follows a port for each service that nothing else uses, and no settings of another run.
unset "${!CREDIT301_@}" AIRFLOW_HOME MLFLOW_TRACKING_URI PYTHONPATH VIRTUAL_ENV
port=$((18300 + RANDOM % 400 * 10))
for service in SERVING MLFLOW AIRFLOW EXCHANGE SITE REDIS POSTGRES SUPERVISOR; do
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  export "CREDIT301_${service}_PORT=$port"
  port=$((port + 1))
done
