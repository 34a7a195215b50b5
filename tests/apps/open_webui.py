# SPDX-License-Identifier: MIT
"""Writes as Open WebUI 0.12 does: ids at random, times in seconds, a turn as two rows of which the second is updated until it is done."""
import json
import time

from app import new_id


def turn(app, chat, user, *, usage=None, error=None, fast=False):
    """The question, and the answer as a placeholder that is filled in."""
    question, answer, now = new_id(), new_id(), int(time.time())
    key = f"{chat}-{answer}"
    about = {"chat_id": chat, "user_id": user, "created_at": now, "updated_at": now, "error": "null", "files": "null", "usage": "null"}
    app.add("chat_message", id=f"{chat}-{question}", role="user", content=json.dumps(app.text("question")), done=1, **about)
    app.add("chat_message", id=key, role="assistant", parent_id=question, model_id="fake-chat", content='""', done=0,
            **about)
    if not fast:
        app.wait("chat.started", f"conversations/{chat}/messages/{answer}")
    app.set("chat_message", key, content=json.dumps(app.text("begun")), updated_at=now)
    if error:
        app.set("chat_message", key, error={"content": error}, done=1, updated_at=now)
        app.wait("chat.response.failed", f"conversations/{chat}/messages/{answer}")
        return answer
    app.set("chat_message", key, content=json.dumps(app.text("answer")), usage=usage or "null", done=1, updated_at=now)
    app.turn((usage or {}).get("input_tokens", 0), (usage or {}).get("output_tokens", 0))
    app.wait("chat.response.generated", f"conversations/{chat}/messages/{answer}")
    return answer


def file(app, user, status):
    """An upload that is processed: pending, then what became of it, with its text."""
    ident, now = new_id(), int(time.time())
    app.add("file", id=ident, user_id=user, filename="handbook.txt", path="/data/uploads/x", created_at=now, updated_at=now,
            meta={"name": "handbook.txt", "content_type": "text/plain", "size": 450}, data={"status": "pending"})
    app.wait("document.uploaded", f"documents/{ident}")
    app.set("file", ident, data={"status": "pending", "content": app.text("page")}, hash="a" * 64)
    app.set("file", ident, updated_at=now + 1, data={"status": status, "content": app.text("page"), **({"error": app.text("failure")} if status == "failed" else {})},
            meta={"name": "handbook.txt", "content_type": "text/plain", "size": 450, "file_hash": "a" * 64, "collection_name": f"file-{ident}"})
    if status == "completed":
        app.truth["documents"].add(ident)
    app.wait("document.embedded" if status == "completed" else "document.failed", f"documents/{ident}")
    return ident


def people(app):
    """A sign-up in three commits."""
    user, now = new_id(), int(time.time())
    app.add("user", id=user, name="Ann", email="ann@example.com", role="pending", profile_image_url="data:" + app.secret(), last_active_at=now,
            created_at=now, updated_at=now, settings={"key": app.secret()}, oauth={"token": app.secret()})
    app.add("auth", id=user, email="ann@example.com", password=app.secret(), active=1)
    app.wait("user.created", f"users/{user}")
    app.set("user", user, role="admin")
    app.set("user", user, last_active_at=now + 1)
    app.wait("user.updated", f"users/{user}")
    return user


def chats(app, user):
    chat, now = new_id(), int(time.time())
    app.add("chat", id=chat, user_id=user, title=app.text("New Chat"), chat={"history": app.text("history")}, created_at=now, updated_at=now,
            archived=0, pinned=0, meta={})
    app.wait("conversation.created", f"conversations/{chat}")
    answer = turn(app, chat, user, usage={"input_tokens": 10, "output_tokens": 3, "total_tokens": 13})
    turn(app, chat, user)
    turn(app, chat, user, usage={"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}, fast=True)
    turn(app, chat, user, error=app.text("the model is gone"))
    app.set("chat", chat, title=app.text("About parts"))
    app.wait("conversation.updated", f"conversations/{chat}")
    app.set("chat_message", f"{chat}-{answer}", content=json.dumps(app.text("edited")))
    app.truth["edits"] += 1
    app.wait("chat.edited", f"conversations/{chat}/messages/{answer}")
    late, old = new_id(), now - 31 * 60
    app.add("chat_message", id=f"{chat}-{late}", chat_id=chat, user_id=user, role="assistant", parent_id=new_id(), content='""', done=0, created_at=old, updated_at=old)
    app.wait("chat.response.aborted", f"conversations/{chat}/messages/{late}")
    return chat, answer


def feedback(app, chat, user):
    ident, now = new_id(), int(time.time())
    app.add("feedback", id=ident, user_id=user, version=0, type="rating", created_at=now, updated_at=now, snapshot={"chat": app.text("snapshot")},
            data={"rating": 1, "model_id": "fake-chat", "reason": "accurate", "comment": app.text("comment")}, meta={"chat_id": chat})
    app.wait("chat.feedback", f"conversations/{chat}", 1)
    app.set("feedback", ident, updated_at=now + 1, data={"rating": -1, "comment": app.text("comment")})
    app.wait("chat.feedback", f"conversations/{chat}", 2)
    app.drop("feedback", ident)
    app.wait("chat.feedback", f"conversations/{chat}", 3)


def knowledge(app, user, document):
    space, member, now = new_id(), new_id(), int(time.time())
    app.add("knowledge", id=space, user_id=user, name="Policies", description="", created_at=now, updated_at=now)
    app.wait("collection.created", f"collections/{space}")
    app.add("knowledge_file", id=member, user_id=user, knowledge_id=space, file_id=document, created_at=now, updated_at=now)
    app.wait("document.embedded", f"documents/{document}", 2)
    app.set("knowledge", space, name="Rules")
    app.wait("collection.updated", f"collections/{space}")
    app.drop("knowledge_file", member)
    app.wait("document.removed", f"documents/{document}")
    app.drop("knowledge", space)
    app.wait("collection.deleted", f"collections/{space}")


def tell(app):
    user = people(app)
    chat, answer = chats(app, user)
    feedback(app, chat, user)
    document = file(app, user, "completed")
    file(app, user, "failed")
    knowledge(app, user, document)
    app.drop("file", document)
    app.wait("document.removed", f"documents/{document}", 2)
    app.drop("chat_message", f"{chat}-{answer}")
    app.wait("chat.deleted", f"conversations/{chat}/messages/{answer}")
    app.commit(("DELETE FROM chat_message WHERE chat_id = ?", [chat]), ("DELETE FROM chat WHERE id = ?", [chat]))
    app.wait("conversation.deleted", f"conversations/{chat}")
    app.commit(("DELETE FROM auth WHERE id = ?", [user]), ('DELETE FROM "user" WHERE id = ?', [user]))
    app.wait("user.deleted", f"users/{user}")
