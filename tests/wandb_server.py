"""As much of a W&B server as a run needs to begin, to send its numbers and to declare artifacts."""

import gzip
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RUN = {"id": "1", "name": "run", "displayName": "run", "project": {"name": "rwtl", "entity": {"name": "lab"}}}
ARTIFACT = {"id": "A", "state": "COMMITTED", "artifactSequence": {"latestArtifact": None}}
ANSWERS = {
    "RunResumeStatus": {"model": {"id": "1", "name": "rwtl", "entity": {"id": "1", "name": "lab"}, "bucket": None}},
    "UpsertBucket": {"upsertBucket": {"bucket": RUN, "inserted": True}},
    "CreateRunFiles": {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": []}},
    "Viewer": {"viewer": {"id": "1", "entity": "lab", "username": "lab", "flags": "{}", "teams": {"edges": []}}},
    "ArtifactType": {"project": {"artifact": None}},
    "ServerFeaturesQuery": {"serverInfo": {"features": []}},
    "CreateArtifact": {"createArtifact": {"artifact": ARTIFACT}},
    "GetDefaultEntity": {"viewer": {"id": "1", "entity": "lab"}},
    "UpsertView2": {"upsertView": {"view": {"id": "V", "name": "nw-abc-v"}, "inserted": True}},
    "UseArtifact": {"useArtifact": {"artifact": {"id": "A"}}},
}


# Of a run as the server lists it; name, config and so on are a test's.
LISTED = {
    "id": "1",
    "tags": [],
    "sweepName": None,
    "state": "finished",
    "commit": None,
    "readOnly": False,
    "createdAt": "2026-01-01T00:00:00Z",
    "heartbeatAt": "2026-01-01T00:00:00Z",
    "description": None,
    "notes": None,
    "systemMetrics": "{}",
    "summaryMetrics": "{}",
    "historyLineCount": 1,
    "historyKeys": {},
    "user": {"name": "lab", "username": "lab"},
    "projectId": "1",
    "internalId": "1",
}


def listed(runs):
    """Answer that a project has these runs, given as (id, job type, config, history)."""
    nodes = []
    for id, job_type, config, _ in runs:
        held = json.dumps({key: {"value": value} for key, value in config.items()})
        nodes.append(LISTED | {"name": id, "displayName": id, "jobType": job_type, "group": "sweep", "config": held})
    page = {"edges": [{"node": node, "cursor": "c"} for node in nodes], "pageInfo": {"hasNextPage": False}}
    project = {"internalId": "1", "runCount": len(nodes), "readOnly": False, "runs": page}
    histories = {id: {"project": {"run": {"sampledHistory": [history]}}} for id, _, _, history in runs}
    return {"Runs": lambda _: {"project": project}, "RunSampledHistory": lambda asked: histories[asked["name"]]}


class WandbServer:
    """Runs until it is stopped, and keeps what it was told.

    `asked` are (operation, variables) of GraphQL, `history` the rows of numbers. `stop` ends it as if its cable were
    pulled: open connections break too.
    """

    def __init__(self):
        self.asked, self.history, self.stopped = [], [], False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        self._server.handle_error = lambda *_: None  # of clients that are gone
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self):
        if not self.stopped:
            self.stopped = True
            self._server.shutdown()
            self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: WandbServer

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.owner.stopped:
            self.close_connection = True
            return
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        answer = json.dumps(self._answer(json.loads(body))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _answer(self, said):
        if self.path.endswith("file_stream"):
            lines = said.get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
            self.owner.history += map(json.loads, lines)
            return {}
        operation = re.search(r"(?:query|mutation)\s+(\w+)", said["query"])[1]
        self.owner.asked.append((operation, said.get("variables") or {}))
        answer = ANSWERS.get(operation, {})
        return {"data": answer(said.get("variables") or {}) if callable(answer) else answer}

    def log_message(self, *_):
        pass
