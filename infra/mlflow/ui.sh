#!/bin/sh
# The MLflow UI on the store of a root, on loopback; `make ui` calls this.
# usage: ui.sh ROOT PORT — MLFLOW_TRACKING_URI, where set, takes the place of the root's own store.
# A tracking server brings its own UI: then this only says where.
set -eu
root=$1
port=$2
store=${MLFLOW_TRACKING_URI:-sqlite:///$root/mlflow.db}

case $store in
http://* | https://*)
    echo "MLFLOW_TRACKING_URI is a server; its UI is at $store"
    exit 0
    ;;
esac
if [ -z "${MLFLOW_TRACKING_URI:-}" ] && [ ! -f "$root/mlflow.db" ]; then
    echo "error: nothing has been run in $root yet: run make pretrain first, or name another root with VLP_ROOT" >&2
    exit 2
fi
# The UI needs no workers for background jobs, and one process is enough for one reader.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
echo "MLflow UI of $store: http://127.0.0.1:$port (Ctrl-C ends it)"
exec .venv/bin/python -m mlflow server --host 127.0.0.1 --port "$port" --workers 1 --backend-store-uri "$store" \
    --artifacts-destination "$root/mlartifacts"
