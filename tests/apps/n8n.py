# SPDX-License-Identifier: MIT
"""Writes as n8n 2.41 does: an execution is new, runs, and ends, of which one that began earlier may end later."""
from app import new_id, utc


def begin(app, workflow, mode="webhook", **more):
    """Inserted without startedAt, which comes a moment later."""
    app.commit(app.row("execution_entity", workflowId=workflow, finished=0, mode=mode, status="new", createdAt=utc(), workflowVersionId="3f0c", **more))
    ident = app.db.execute("SELECT max(id) FROM execution_entity").fetchone()[0]
    app.commit(app.row("execution_data", executionId=ident, workflowData={"nodes": app.text("node")}, data=app.text("item")))
    app.wait("run.started", f"runs/{ident}")
    app.set("execution_entity", ident, status="running", startedAt=utc())
    return ident


def end(app, ident, status, kind):
    app.commit(("UPDATE execution_entity SET status = ?, finished = ?, stoppedAt = ? WHERE id = ?", [status, status == "success", utc(), ident]),
               ("UPDATE execution_data SET data = ? WHERE executionId = ?", [app.text("result"), ident]))
    app.wait(kind, f"runs/{ident}")


def hub(app, user):
    """What the preset leaves out: nothing may be told of it."""
    session = new_id()
    app.add("chat_hub_sessions", id=session, title=app.text("hub"), ownerId=user, lastMessageAt=utc(), provider="openai", model="gpt-4")
    for kind in ("human", "ai"):
        app.add("chat_hub_messages", id=new_id(), sessionId=session, type=kind, name="x", content=app.text("hub"), status="success")


def tell(app):
    user, workflow = new_id(), "wZ2kq1"
    app.add("user", id=user, email="ann@example.com", firstName="Ann", lastName="Lee", password=app.secret(), mfaSecret=app.secret(),
            mfaRecoveryCodes=app.secret(), settings={"x": app.secret()}, roleSlug="global:member")
    app.wait("user.created", f"users/{user}")
    app.set("user", user, roleSlug="global:admin", updatedAt=utc())
    app.wait("user.updated", f"users/{user}")
    app.add("workflow_entity", id=workflow, name="Nightly report", active=1, nodes=[app.text("node")], connections={}, versionId="3f0c")
    hub(app, user)
    slow, quick = begin(app, workflow), begin(app, workflow, "trigger")
    end(app, quick, "success", "run.finished")
    end(app, slow, "success", "run.finished")
    failed = begin(app, workflow, "retry", retryOf=str(slow))
    end(app, failed, "error", "run.failed")
    end(app, begin(app, workflow), "crashed", "run.failed")
    waits = begin(app, workflow, "manual")
    app.set("execution_entity", waits, status="waiting", waitTill=utc())
    app.wait("run.waiting", f"runs/{waits}")
    end(app, waits, "canceled", "run.aborted")
    unsaved = begin(app, workflow)
    app.set("execution_entity", unsaved, deletedAt=utc(ago=3600))
    app.wait("run.aborted", f"runs/{unsaved}")
    gone = begin(app, workflow)
    app.drop("execution_entity", gone)
    app.wait("run.aborted", f"runs/{gone}")
    app.drop("user", user)
    app.wait("user.deleted", f"users/{user}")
