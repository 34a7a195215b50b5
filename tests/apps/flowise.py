# SPDX-License-Identifier: MIT
"""Writes as Flowise 3.1 does: messages are only added, those of an agent flow when it ends, the question with the time of its beginning."""
import json

from app import new_id, utc


def message(app, role, flow, chat, text, when=None, **more):
    ident = new_id()
    app.add("chat_message", id=ident, role=role, chatflowid=flow, content=text, chatId=chat, createdDate=when or utc(), **more)
    return ident


def sources(app):
    return json.dumps([{"pageContent": app.text("page"), "metadata": {"source": "policy.pdf"}}])


def chat_turn(app, flow, chat, **more):
    """Of a chat flow: the question, then the answer."""
    message(app, "userMessage", flow, chat, app.text("question"), **more)
    ident = message(app, "apiMessage", flow, chat, app.text("answer"), sourceDocuments=sources(app), **more)
    app.turn()
    app.wait("chat.response.generated", f"conversations/{more.get('sessionId') or chat}/messages/{ident}")
    return ident


def run(app, flow, chat, state):
    """Of an agent flow: INPROGRESS, then its end, and only when all went well both messages."""
    ident, began = new_id(), utc(ms=False)
    app.add("execution", id=ident, executionData=json.dumps([app.text("node")]), state="INPROGRESS", agentflowId=flow, sessionId=chat, createdDate=began,
            updatedDate=began)
    app.wait("run.started", f"runs/{ident}")
    app.set("execution", ident, state=state, executionData=json.dumps([app.text("node")]), updatedDate=utc(ms=False))
    app.wait({"FINISHED": "run.finished", "ERROR": "run.failed"}.get(state, "run.aborted"), f"runs/{ident}")
    if state == "FINISHED":
        message(app, "userMessage", flow, chat, app.text("question"), when=began, executionId=ident, sessionId=chat)
        answer = message(app, "apiMessage", flow, chat, app.text("answer"), executionId=ident, sessionId=chat, chatType="EXTERNAL",
                         sourceDocuments=sources(app))
        app.turn()
        app.wait("chat.response.generated", f"conversations/{chat}/messages/{answer}")
    return ident


def feedback(app, flow, chat, answer):
    ident, subject = new_id(), f"conversations/{chat}/messages/{answer}"
    app.add("chat_message_feedback", id=ident, chatflowid=flow, chatId=chat, messageId=answer, rating="THUMBS_UP", createdDate=utc())
    app.wait("chat.feedback", subject, 1)
    app.set("chat_message_feedback", ident, rating="THUMBS_DOWN", content=app.text("comment"))
    app.wait("chat.feedback", subject, 2)


def left_out(app, store):
    """What the preset leaves out: nothing may be told of it."""
    user, loader = new_id(), new_id()
    app.add("user", id=user, name="Ann", email="ann@example.com", credential=app.secret(), createdBy=user, updatedBy=user)
    app.set("document_store", store, loaders=[{"id": loader, "status": "SYNC", "totalChunks": 12}], status="SYNC")
    app.add("document_store_file_chunk", id=new_id(), docId=loader, storeId=store, chunkNo=1, pageContent=app.text("page"))


def tell(app):
    flow, agents, chat, store = new_id(), new_id(), new_id(), new_id()
    app.add("credential", id=new_id(), name="key", credentialName="openAIApi", encryptedData=app.secret())
    app.add("chat_flow", id=flow, name="Support", type="CHATFLOW", flowData=app.text("flow"), webhookSecret=app.secret())
    app.add("chat_flow", id=agents, name="Helpers", type="AGENTFLOW", flowData=app.text("flow"))
    app.add("document_store", id=store, name="Policies", status="EMPTY", vectorStoreConfig=app.secret(), createdDate=utc(ms=False))
    app.wait("collection.created", f"collections/{store}")
    left_out(app, store)
    answer = chat_turn(app, flow, chat)
    chat_turn(app, flow, chat, sessionId="s-1", chatType="EXTERNAL")
    feedback(app, flow, chat, answer)
    for state in ("FINISHED", "ERROR", "TERMINATED"):
        run(app, agents, chat, state)
    app.set("document_store", store, name="Rules", status="UPSERTED")
    app.wait("collection.updated", f"collections/{store}")
    app.drop("document_store", store)
    app.wait("collection.deleted", f"collections/{store}")
