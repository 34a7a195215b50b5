# SPDX-License-Identifier: MIT
"""An Airflow of one test: `airflow standalone` on SQLite, with the DAGs of the example, in a folder of its own."""
import json
import os
import re
import secrets
import shutil
import signal
import subprocess

import requests

import aqueduct
import stage
from stage import HERE

LIFE = 20       # seconds of an access token, so that it ends within the test


class Airflow:
    def __init__(self, folder, python, kafka, listen, token):
        self.folder, self.port = folder, aqueduct.free_port()
        self.url, self.password = f"http://127.0.0.1:{self.port}", secrets.token_hex(12)
        folder.mkdir()
        for name in ("dags", "plugins"):
            shutil.copytree(HERE / "airflow" / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "passwords.json").write_text(json.dumps({"bridge": self.password, "tester": self.password}))
        group = {"bootstrap.servers": kafka, "auto.offset.reset": "earliest", "enable.auto.commit": "false"}
        settings = {
            "CORE__LOAD_EXAMPLES": "False", "CORE__PARALLELISM": "2", "CORE__DEFAULT_TASK_RETRIES": "3",
            "CORE__DEFAULT_TASK_RETRY_DELAY": "5", "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": "bridge:user,tester:admin", "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": folder / "passwords.json",
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/", "API__HOST": "127.0.0.1", "API__PORT": self.port, "API__WORKERS": 1,
            "API__BASE_URL": self.url, "API_AUTH__JWT_SECRET": secrets.token_hex(32), "API_AUTH__JWT_EXPIRATION_TIME": LIFE,
            "LOGGING__WORKER_LOG_SERVER_PORT": aqueduct.free_port(), "LOGGING__TRIGGER_LOG_SERVER_PORT": aqueduct.free_port(),
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db?timeout=60",     # its first requests are slow, and hold its database meanwhile
            "USAGE_DATA_COLLECTION__ENABLED": "False"}
        connections = {
            "KAFKA_BELL": {"conn_type": "kafka", "extra": group | {"group.id": "airflow-bell"}},
            "KAFKA_DOCUMENTS": {"conn_type": "kafka", "extra": group | {"group.id": "airflow-documents"}},
            "AQUEDUCT": {"conn_type": "http", "host": f"http://{listen}", "password": token}}
        self.environment = {**aqueduct.environment(), "AIRFLOW_HOME": str(folder), "PATH": f"{python.parent}:{os.environ['PATH']}", "NO_PROXY": "127.0.0.1",
                            **{f"AIRFLOW__{name}": str(value) for name, value in settings.items()},
                            **{f"AIRFLOW_CONN_{name}": json.dumps(value) for name, value in connections.items()}}
        self.token, self.process = None, None

    def __enter__(self):
        with open(self.folder / "log", "w") as log:
            self.process = subprocess.Popen(["airflow", "standalone"], cwd=self.folder, env=self.environment, start_new_session=True,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            stage.wait_for(lambda: self.healthy(), self.log, 3 * stage.PATIENCE)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        """Its parts are in a session of their own."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def log(self):
        return (self.folder / "log").read_text(errors="replace")[-6000:]

    def healthy(self):
        assert self.process.poll() is None, self.log()
        try:
            health = requests.get(f"{self.url}/api/v2/monitor/health", timeout=10).json()
        except (OSError, ValueError):
            return False
        return all(health[part]["status"] == "healthy" for part in ("scheduler", "triggerer", "dag_processor"))

    def ask(self, method, path, **more):
        """The answer of the API, with a token that lives longer than those of the bridge. On a busy machine its SQLite makes it a 5xx, or late."""
        if not self.token:
            login = requests.post(f"{self.url}/auth/token/cli", json={"username": "tester", "password": self.password}, timeout=30)
            self.token = login.json()["access_token"]
        head = {"Authorization": f"Bearer {self.token}"}

        def answer():
            try:
                got = requests.request(method, f"{self.url}/api/v2{path}", headers=head, timeout=60, **more)
            except requests.Timeout:
                return None
            return None if got.status_code >= 500 else [got]
        return stage.wait_for(answer, self.log)[0]

    def answered(self, method, path):
        """The statuses of all such requests."""
        return re.findall(rf"method={method} path={path} .*status_code=(\d+)", (self.folder / "log").read_text())

    def dags(self):
        return {one["dag_id"] for one in self.ask("GET", "/dags").json()["dags"]}

    def runs(self, dag):
        return self.ask("GET", f"/dags/{dag}/dagRuns", params={"limit": 100, "order_by": "start_date"}).json()["dag_runs"]

    def results(self, dag, task):
        """What the task returned in each run that has succeeded; an error when one failed."""
        found = []
        for run in self.runs(dag):
            assert run["state"] != "failed", f"{dag} {run['dag_run_id']}\n{self.task_log(dag, run['dag_run_id'])}"
            if run["state"] == "success":
                path = f"/dags/{dag}/dagRuns/{requests.utils.quote(run['dag_run_id'], safe='')}/taskInstances/{task}/xcomEntries/return_value"
                found.append(self.ask("GET", path).json()["value"])
        return found

    def task_log(self, dag, run):
        logs = sorted(self.folder.glob(f"logs/dag_id={dag}/run_id={run}/**/*.log"))
        return "\n".join(log.read_text(errors="replace")[-3000:] for log in logs)
