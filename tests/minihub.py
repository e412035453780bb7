"""minihub: a small in-memory Hub server (stdlib only) for loopback integration tests.

Speaks the subset of the Hub HTTP protocol that huggingface_hub's client uses for
create_repo / upload_folder / create_branch / create_tag / model_info / hf_hub_download /
snapshot_download, with LFS uploads, revisions, pull requests and private repos.

    python minihub.py --port 8799 --token hf_alice=alice --trace trace.jsonl
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LFS_SUFFIXES = (".safetensors", ".bin", ".pt", ".npz", ".png", ".jpg")
NOW = "2026-01-01T00:00:00.000Z"


def git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Repo:
    def __init__(self, repo_id: str, kind: str, owner: str, private: bool):
        self.id, self.kind, self.owner, self.private = repo_id, kind, owner, private
        self.commits: dict[str, dict] = {}  # oid -> {files, title, parent}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.prs: dict[str, str] = {}  # refs/pr/N -> oid
        self.commit("main", {".gitattributes": git_entry(b"*.safetensors filter=lfs\n")}, "initial commit")

    def commit(self, ref: str, files: dict, title: str, parent: str | None = None) -> str:
        raw = json.dumps([ref, sorted((k, v["oid"]) for k, v in files.items()), title, parent, time.time_ns()])
        oid = hashlib.sha1(raw.encode()).hexdigest()
        self.commits[oid] = {"files": files, "title": title, "parent": parent}
        (self.prs if ref.startswith("refs/pr/") else self.branches)[ref] = oid
        return oid

    def resolve(self, rev: str) -> str | None:
        for prefix, table in (("refs/heads/", self.branches), ("refs/tags/", self.tags)):
            if rev.startswith(prefix):
                return table.get(rev[len(prefix) :])
        hit = self.branches.get(rev) or self.tags.get(rev) or self.prs.get(rev)
        if hit or rev in self.commits:
            return hit or rev
        full = [c for c in self.commits if len(rev) >= 7 and c.startswith(rev)]
        return full[0] if len(full) == 1 else None


def git_entry(data: bytes) -> dict:
    return {"oid": git_oid(data), "size": len(data), "data": data, "lfs": None}


class Hub:
    def __init__(self, tokens: dict[str, str] | None = None, trace: str | None = None, lfs_suffixes=LFS_SUFFIXES):
        self.tokens = tokens or {}
        self.lfs_suffixes = tuple(lfs_suffixes)  # () => every file is "regular": then a client with xet on can push
        self.repos: dict[tuple[str, str], Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.requests: list[dict] = []
        self.lock = threading.RLock()
        self.trace = trace


class Err(Exception):
    def __init__(self, status: int, code: str | None, message: str):
        self.status, self.code, self.message = status, code, message


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *a):  # quiet
        pass

    # ---------------------------------------------------------------- plumbing
    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            out = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                out += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return out
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self, status: int, payload=None, headers: dict | None = None, raw: bytes | None = None):
        data = raw if raw is not None else (b"" if payload is None else json.dumps(payload).encode())
        self.send_response(status)
        out = {
            "Content-Type": "application/json" if raw is None else "application/octet-stream",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }
        for k, v in out.items():
            self.send_header(k, v)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        self.status = status

    def handle_any(self):
        self.raw_body = self.body()
        self.status = 0
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        try:
            with self.hub.lock:
                self.route(url.path)
        except Err as e:
            head = {"X-Error-Message": e.message}
            if e.code:
                head["X-Error-Code"] = e.code
            self.reply(e.status, {"error": e.message}, head)
        rec = {
            "method": self.command,
            "path": self.path,
            "status": self.status,
            "bytes_in": len(self.raw_body),
            "auth": bool(self.headers.get("Authorization")),
            "ua": self.headers.get("User-Agent", ""),
        }
        self.hub.requests.append(rec)
        if self.hub.trace:
            with open(self.hub.trace, "a") as f:
                f.write(json.dumps(rec) + "\n")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

    def user(self) -> str | None:
        auth = self.headers.get("Authorization", "")
        if not auth:
            return None
        name = self.hub.tokens.get(auth.removeprefix("Bearer "))
        if name is None:
            raise Err(401, None, "Invalid credentials in Authorization header")
        return name

    def repo(self, kind: str, repo_id: str, write: bool = False) -> Repo:
        user, repo = self.user(), self.hub.repos.get((kind, repo_id))
        if repo is None or (repo.private and user != repo.owner):
            raise Err(401 if user is None else 404, "RepoNotFound", "Repository not found")
        if write and user != repo.owner:
            raise Err(401 if user is None else 403, None, "You don't have the rights to write here")
        return repo

    def rev(self, repo: Repo, rev: str) -> str:
        oid = repo.resolve(unquote(rev))
        if oid is None:
            raise Err(404, "RevisionNotFound", f"Invalid rev id: {unquote(rev)}")
        return oid

    @property
    def base(self) -> str:
        return f"http://{self.headers['Host']}"

    # ---------------------------------------------------------------- routes
    def route(self, path: str):
        m, js = self.command, lambda: json.loads(self.raw_body or b"{}")
        if path == "/api/whoami-v2":
            user = self.user()
            if user is None:
                raise Err(401, None, "Invalid username or password.")
            return self.reply(
                200,
                {
                    "type": "user",
                    "name": user,
                    "fullname": user,
                    "orgs": [],
                    "auth": {"accessToken": {"role": "write", "displayName": "test"}},
                },
            )
        if path == "/api/validate-yaml":
            return self.reply(200, {"errors": [], "warnings": []})
        if path == "/api/repos/create" and m == "POST":
            user, p = self.user(), js()
            if user is None:
                raise Err(401, None, "Invalid username or password.")
            owner = p.get("organization") or user
            if owner != user:
                raise Err(403, None, f"You don't have the rights to create a repo under the namespace {owner!r}")
            kind, rid = p.get("type") or "model", f"{owner}/{p['name']}"
            url = f"{self.base}/{'' if kind == 'model' else kind + 's/'}{rid}"
            if (kind, rid) in self.hub.repos:
                return self.reply(409, {"error": "You already created this repo", "url": url})
            private = bool(p.get("private")) or p.get("visibility") == "private"
            self.hub.repos[kind, rid] = Repo(rid, kind, owner, private)
            return self.reply(200, {"url": url, "name": rid, "id": rid})
        if path == "/api/repos/delete" and m == "DELETE":
            p = js()
            kind = p.get("type") or "model"
            rid = f"{p.get('organization') or self.user()}/{p['name']}"
            self.repo(kind, rid, write=True)
            del self.hub.repos[kind, rid]
            return self.reply(200, {})
        # LFS object store (what the CDN / S3 bucket is on the real Hub)
        if g := re.fullmatch(r"/_lfs/([0-9a-f]{64})", path):
            if m == "PUT":
                if hashlib.sha256(self.raw_body).hexdigest() != g[1]:
                    raise Err(400, None, "sha256 mismatch")
                self.hub.lfs[g[1]] = self.raw_body
                return self.reply(200, {})
            return self.send_bytes(self.hub.lfs[g[1]], {"ETag": f'"{g[1]}"'})
        if g := re.fullmatch(r"/(?:(dataset|space)s/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            self.repo(g[1] or "model", g[2], write=True)
            objs = []
            for o in js()["objects"]:
                item = {"oid": o["oid"], "size": o["size"]}
                if o["oid"] not in self.hub.lfs:
                    item["actions"] = {"upload": {"href": f"{self.base}/_lfs/{o['oid']}", "header": {}}}
                objs.append(item)
            return self.reply(200, {"transfer": "basic", "objects": objs})
        if g := re.fullmatch(r"/api/(model|dataset|space)s/([^/]+/[^/]+)(?:/(.*))?", path):
            return self.api(g[1], g[2], g[3] or "", m, js)
        if g := re.fullmatch(r"/(?:(dataset|space)s/)?([^/]+/[^/]+)/(?:resolve|raw)/([^/]+)/(.+)", path):
            return self.resolve_file(g[1] or "model", g[2], g[3], unquote(g[4]))
        raise Err(404, None, f"no route {m} {path}")

    def api(self, kind, rid, rest, m, js):
        verb, _, arg = rest.partition("/")
        if verb in ("", "revision") and m == "GET":
            repo = self.repo(kind, rid)
            sha = self.rev(repo, arg or "main")
            files = repo.commits[sha]["files"]
            return self.reply(
                200,
                {
                    "id": rid,
                    "modelId": rid,
                    "author": repo.owner,
                    "sha": sha,
                    "private": repo.private,
                    "tags": [],
                    "downloads": 0,
                    "likes": 0,
                    "lastModified": NOW,
                    "createdAt": NOW,
                    "disabled": False,
                    "gated": False,
                    "siblings": [{"rfilename": p} for p in sorted(files)],
                },
            )
        if verb == "refs":
            repo = self.repo(kind, rid)
            ref = lambda pre, t: [{"name": n, "ref": pre + n, "targetCommit": c} for n, c in t.items()]  # noqa: E731
            return self.reply(
                200,
                {
                    "branches": ref("refs/heads/", repo.branches),
                    "tags": ref("refs/tags/", repo.tags),
                    "converts": [],
                    "pullRequests": ref("", repo.prs),
                },
            )
        if verb == "tree":
            repo, (rev, _, sub) = self.repo(kind, rid), arg.partition("/")
            files = repo.commits[self.rev(repo, rev)]["files"]
            out = [self.tree_entry(p, e) for p, e in sorted(files.items()) if p.startswith(unquote(sub))]
            return self.reply(200, out)
        if verb == "paths-info" and m == "POST":
            repo = self.repo(kind, rid)
            files = repo.commits[self.rev(repo, arg)]["files"]
            p = (
                js()
                if self.headers.get("Content-Type", "").startswith("application/json")
                else parse_qs(self.raw_body.decode())
            )
            return self.reply(200, [self.tree_entry(x, files[x]) for x in p["paths"] if x in files])
        if verb == "commits":
            repo = self.repo(kind, rid)
            oid, out = self.rev(repo, arg), []
            while oid:
                c = repo.commits[oid]
                out.append(
                    {"id": oid, "title": c["title"], "message": "", "authors": [{"user": repo.owner}], "date": NOW}
                )
                oid = c["parent"]
            return self.reply(200, out)
        repo = self.repo(kind, rid, write=True)
        if verb == "branch" and m == "POST":
            name = unquote(arg)
            if name in repo.branches:
                raise Err(409, None, "Reference already exists")
            repo.branches[name] = self.rev(repo, js().get("startingPoint") or "main")
            return self.reply(200, {})
        if verb == "tag" and m == "POST":
            name = js()["tag"]
            if name in repo.tags:
                raise Err(409, None, "Tag already exists")
            repo.tags[name] = self.rev(repo, arg)
            return self.reply(200, {})
        if verb in ("branch", "tag") and m == "DELETE":
            (repo.branches if verb == "branch" else repo.tags).pop(unquote(arg), None)
            return self.reply(200, {})
        if verb == "preupload" and m == "POST":
            files = repo.commits[self.rev(repo, arg)]["files"]
            out = []
            for f in js()["files"]:
                old = files.get(f["path"])
                mode = "lfs" if f["path"].endswith(self.hub.lfs_suffixes) else "regular"
                out.append(
                    {
                        "path": f["path"],
                        "uploadMode": mode,
                        "shouldIgnore": False,
                        "oid": old and (old["lfs"] or old["oid"]),
                    }
                )
            return self.reply(200, {"files": out})
        if verb == "commit" and m == "POST":
            return self.commit(repo, unquote(arg))
        raise Err(404, None, f"no route {m} {self.path}")

    def commit(self, repo: Repo, ref: str):
        if ref not in repo.branches and ref not in repo.prs:
            raise Err(404, "RevisionNotFound", f"Invalid rev id: {ref}")
        parent = repo.resolve(ref)
        files, title = dict(repo.commits[parent]["files"]), ""
        for line in self.raw_body.splitlines():
            op = json.loads(line)
            key, v = op["key"], op["value"]
            if key == "header":
                title = v["summary"]
                if v.get("parentCommit") not in (None, parent):
                    raise Err(412, None, "A commit has happened since. Please refresh and try again.")
            elif key == "file":
                files[v["path"]] = git_entry(base64.b64decode(v["content"]))
            elif key == "lfsFile":
                if v["oid"] not in self.hub.lfs:
                    raise Err(400, None, f"LFS object {v['oid']} was not uploaded")
                data = self.hub.lfs[v["oid"]]
                ptr = f"version https://git-lfs.github.com/spec/v1\noid sha256:{v['oid']}\nsize {len(data)}\n".encode()
                files[v["path"]] = {"oid": git_oid(ptr), "size": len(data), "data": None, "lfs": v["oid"]}
            elif key == "deletedFile":
                files.pop(v["path"], None)
            elif key == "deletedFolder":
                files = {k: e for k, e in files.items() if not k.startswith(v["path"].rstrip("/") + "/")}
        pr_url = None
        if self.query.get("create_pr") == ["1"]:
            num = len(repo.prs) + 1
            ref, pr_url = f"refs/pr/{num}", f"{self.base}/{repo.id}/discussions/{num}"
        oid = repo.commit(ref, files, title, parent)
        self.reply(
            200,
            {
                "success": True,
                "commitOid": oid,
                "commitUrl": f"{self.base}/{repo.id}/commit/{oid}",
                "hookOutput": "",
                **({"pullRequestUrl": pr_url} if pr_url else {}),
            },
        )

    def tree_entry(self, path, e):
        out = {"type": "file", "path": path, "oid": e["oid"], "size": e["size"]}
        if e["lfs"]:
            out["lfs"] = {"oid": e["lfs"], "size": e["size"], "pointerSize": 134}
        return out

    def resolve_file(self, kind, rid, rev, name):
        repo = self.repo(kind, rid)
        sha = self.rev(repo, rev)
        entry = repo.commits[sha]["files"].get(name)
        head = {"X-Repo-Commit": sha}
        if entry is None:
            return self.reply(
                404,
                {"error": "Entry not found"},
                {**head, "X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"},
            )
        if entry["lfs"]:
            # The client follows same-host redirects on HEAD and needs the headers below from the *first* answer,
            # so point at another host name for this machine, as the real Hub points at its CDN.
            cdn = self.base.replace("127.0.0.1", "localhost")
            return self.reply(
                302,
                None,
                {
                    **head,
                    "Location": f"{cdn}/_lfs/{entry['lfs']}",
                    "X-Linked-Etag": f'"{entry["lfs"]}"',
                    "X-Linked-Size": str(entry["size"]),
                },
            )
        self.send_bytes(entry["data"], {**head, "ETag": f'"{entry["oid"]}"'})

    def send_bytes(self, data: bytes, head: dict):
        head = {**head, "Accept-Ranges": "bytes"}
        if g := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            a, b = int(g[1]), int(g[2]) if g[2] else len(data) - 1
            head["Content-Range"] = f"bytes {a}-{b}/{len(data)}"
            return self.reply(206, headers=head, raw=data[a : b + 1])
        self.reply(200, headers=head, raw=data)


def start(port: int = 0, tokens: dict[str, str] | None = None, trace: str | None = None, lfs_suffixes=LFS_SUFFIXES):
    """Start on 127.0.0.1 in a thread; returns (server, hub, url). Stop with server.shutdown()."""
    hub = Hub(tokens, trace, lfs_suffixes)
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, hub, f"http://127.0.0.1:{server.server_address[1]}"


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--port", type=int, default=8799)
    ap.add_argument("--token", action="append", default=[], help="TOKEN=USER")
    ap.add_argument("--trace")
    ap.add_argument("--regular-only", action="store_true", help="no LFS: clients need not set HF_HUB_DISABLE_XET=1")
    a = ap.parse_args()
    server, _, url = start(
        a.port, dict(t.split("=", 1) for t in a.token), a.trace, () if a.regular_only else LFS_SUFFIXES
    )
    print(url, flush=True)
    threading.Event().wait()
