# SPDX-License-Identifier: MIT
"""Writes as AnythingLLM 1.16 does: ids that grow, times in milliseconds, a plain chat as one row, an agent's as a row that is filled in later."""
import json
import time

from app import new_id


def ms(ago=0):
    return int((time.time() - ago) * 1000)


def log(app, event, kind, metadata, user=None):
    ident = app.add("event_logs", event=event, metadata=metadata, userId=user, occurredAt=ms())
    if kind:
        app.wait(kind, {"document.uploaded": f"documents/log/{ident}"}.get(kind))
    return ident


def answer(app, tokens_in, tokens_out, sources=()):
    app.turn(tokens_in, tokens_out)
    return {"text": app.text("answer"), "type": "chat", "attachments": [], "sources": [{"id": s, "title": "handbook.txt", "score": 0.87, "text": app.text("chunk")} for s in sources],
            "metrics": {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out, "outputTps": 600, "duration": 0.005,
                        "model": "fake-chat", "provider": "GenericOpenAiLLM"}}


def document(app, space, user):
    """Its chunks, its row, the log's line: what is embedded again is another row and another docId."""
    doc, ident = new_id(), new_id()
    log(app, "document_uploaded", "document.uploaded", {"documentName": "handbook.txt"}, user)
    app.add("document_vectors", docId=doc, vectorId=new_id(), createdAt=ms())
    row = app.add("workspace_documents", docId=doc, filename=f"handbook-{ident}.json", docpath=f"custom-documents/handbook-{ident}.json", workspaceId=space, createdAt=ms(),
                  metadata={"id": ident, "title": "handbook.txt", "wordCount": 161, "token_count_estimate": 401, "description": app.text("page")})
    app.truth["documents"].add(ident)
    app.wait("document.embedded", f"documents/{ident}")
    log(app, "workspace_documents_added", None, {"workspaceName": "HR", "numberOfDocumentsAdded": 1})
    app.set("workspace_documents", row, pinned=1)
    app.wait("document.updated", f"documents/{ident}")
    queue = app.add("document_sync_queues", nextSyncAt=ms(), workspaceDocId=row)
    app.add("document_sync_executions", queueId=queue, status="failed", result={"reason": app.text("failure")}, createdAt=ms())
    app.wait("document.failed", f"documents/{ident}")
    return row, ident


def chats(app, space, user, document_id):
    conversation = f"conversations/ws/{space}/user/{user}"
    about = {"workspaceId": space, "user_id": user}
    plain = app.add("workspace_chats", prompt=app.text("question"), response=answer(app, 10, 3, [document_id]), createdAt=ms(), **about)
    log(app, "sent_chat", None, {"workspaceName": "HR", "chatModel": "fake-chat"}, user)
    app.wait("chat.response.generated", f"{conversation}/messages/{plain}")
    asked = app.text("question")
    run = app.add("workspace_agent_invocations", uuid=new_id(), prompt=asked, workspace_id=space, user_id=user, createdAt=ms())
    app.wait("run.started", f"runs/agent/{run}")
    slow = app.add("workspace_chats", prompt=asked, response="{}", include=0, createdAt=ms(), **about)
    app.wait("chat.started", f"{conversation}/messages/{slow}")
    api = app.add("workspace_chats", prompt=app.text("question"), response=answer(app, 7, 2), api_session_id="s-1", workspaceId=space, createdAt=ms())
    app.wait("chat.response.generated", f"conversations/ws/{space}/api/s-1/messages/{api}")
    app.set("workspace_chats", slow, response=answer(app, 20, 9), include=1)
    app.wait("chat.response.generated", f"{conversation}/messages/{slow}")
    app.set("workspace_agent_invocations", run, closed=1)
    app.wait("run.finished", f"runs/agent/{run}")
    app.set("workspace_chats", plain, feedbackScore=1)
    app.wait("chat.feedback", f"{conversation}/messages/{plain}")
    app.set("workspace_chats", plain, response=json.dumps({"text": app.text("edited"), "type": "chat"}))
    app.truth["edits"] += 1
    app.wait("chat.edited", f"{conversation}/messages/{plain}")
    app.set("workspace_chats", plain, include=0)
    app.wait("chat.hidden", f"{conversation}/messages/{plain}")
    app.drop("workspace_chats", plain)
    app.wait("chat.deleted", f"{conversation}/messages/{plain}")
    late = app.add("workspace_chats", prompt=app.text("question"), response="{}", include=0, createdAt=ms(31 * 60), **about)
    app.wait("chat.response.aborted", f"{conversation}/messages/{late}")


def widget(app, space):
    """A turn on another site."""
    embed = app.add("embed_configs", uuid=new_id(), workspace_id=space)
    chat = app.add("embed_chats", prompt=app.text("question"), response=answer(app, 5, 1), session_id="s", embed_id=embed, connection_information={"ip": app.secret()}, createdAt=ms())
    app.wait("chat.response.generated", f"conversations/embed/{embed}/s/messages/embed/{chat}")


def jobs(app):
    job = app.add("scheduled_jobs", name="Digest", prompt=app.text("sum up"), schedule="0 8 * * *")
    for status, kind in (("completed", "run.finished"), ("failed", "run.failed"), ("timed_out", "run.aborted")):
        run = app.add("scheduled_job_runs", jobId=job, startedAt=ms())
        app.wait("run.started", f"runs/job/{run}")
        app.set("scheduled_job_runs", run, status=status, completedAt=ms(), result={"text": app.text("digest")}, error=app.text("why"))
        app.wait(kind, f"runs/job/{run}")


def tell(app):
    user = app.add("users", username="ann", password=app.secret(), createdAt=ms())
    app.wait("user.created", f"users/{user}")
    app.set("users", user, role="admin")
    app.wait("user.updated", f"users/{user}")
    log(app, "login_event", "user.login", {"ip": "::1", "username": "ann"}, user)
    log(app, "failed_login_invalid_username", "user.login_failed", {"ip": "::1", "username": "nobody"})
    log(app, "invite_created", "audit.logged", {"inviteCode": app.secret(), "createdBy": "ann"}, user)
    space = app.add("workspaces", name="HR", slug="hr", openAiPrompt=app.text("prompt"), createdAt=ms())
    app.wait("collection.created", f"collections/{space}")
    app.set("workspaces", space, name="People")
    app.wait("collection.updated", f"collections/{space}")
    row, ident = document(app, space, user)
    thread = app.add("workspace_threads", name=app.text("Thread"), slug=new_id(), workspace_id=space, user_id=user, createdAt=ms())
    subject = f"conversations/ws/{space}/thread/{thread}"
    app.wait("conversation.created", subject)
    app.set("workspace_threads", thread, name=app.text("Leave"))
    app.wait("conversation.updated", subject)
    chats(app, space, user, ident)
    widget(app, space)
    jobs(app)
    app.drop("workspace_documents", row)
    app.wait("document.removed", f"documents/{ident}")
    app.drop("workspace_threads", thread)
    app.wait("conversation.deleted", subject)
    app.drop("workspaces", space)
    app.wait("collection.deleted", f"collections/{space}")
    app.drop("users", user)
    app.wait("user.deleted", f"users/{user}")
