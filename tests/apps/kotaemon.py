# SPDX-License-Identifier: MIT
"""Writes as Kotaemon does: a conversation's turns are a list in one column that is replaced whole, collections are tables that come and go."""
import datetime
import uuid

from app import new_id


def now():
    """Local time without its offset."""
    return datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S.%f")


def create_index(app, number, name):
    """A collection, with tables of its own."""
    app.add("ktem__index", id=number, name=name, index_type="ktem.index.file.FileIndex", config={"private": False})
    app.commit(f"CREATE TABLE IF NOT EXISTS index__{number}__source (id VARCHAR NOT NULL, name VARCHAR, path VARCHAR, size INTEGER, date_created DATETIME, user VARCHAR,"
               " note JSON, PRIMARY KEY (id), UNIQUE (id), UNIQUE (name))",
               f"CREATE TABLE IF NOT EXISTS index__{number}__index (id INTEGER NOT NULL, source_id VARCHAR, target_id VARCHAR, relation_type VARCHAR, user VARCHAR, PRIMARY KEY (id))",
               f"CREATE TABLE IF NOT EXISTS index__{number}__group (id VARCHAR NOT NULL, date_created DATETIME, name VARCHAR, user VARCHAR, data JSON, PRIMARY KEY (id), UNIQUE (id))")
    app.wait("collection.created", f"collections/{number}")


def drop_index(app, number):
    app.gone += [f"index__{number}__source"]
    app.commit(*(f"DROP TABLE index__{number}__{part}" for part in ("source", "index", "group")))
    app.drop("ktem__index", number)
    app.wait("collection.deleted", f"collections/{number}")


def upload(app, number, user, name):
    """The row, its document rows, the note, and only then the vectors."""
    ident, source, index = new_id(), f"index__{number}__source", f"index__{number}__index"
    app.add(source, id=ident, name=name, path="e3" * 32, size=88123, date_created="2026-11-20 08:00:00.000000", user=user, note={})
    app.wait("document.uploaded", f"documents/{ident}")
    for kind in ("document", "vector"):
        if kind == "vector":
            app.set(source, ident, note={"tokens": 1200, "loader": "PDFThumbnailReader"})
        app.commit(*(app.row(index, source_id=ident, target_id=new_id(), relation_type=kind, user=user) for _ in range(3)))
    app.truth["documents"].add(ident)
    app.wait("document.embedded", f"documents/{ident}")
    return ident


def give_up(app, number, user):
    """A file that cannot be read keeps its empty note, until somebody removes it."""
    ident = new_id()
    app.add(f"index__{number}__source", id=ident, name="broken.pdf", path="e4" * 32, size=1, date_created="2026-11-20 08:00:00.000000", user=user, note={})
    app.wait("document.uploaded", f"documents/{ident}")
    app.drop(f"index__{number}__source", ident)
    app.wait("document.failed", f"documents/{ident}")


def remove(app, number, ident):
    app.commit((f"DELETE FROM index__{number}__source WHERE id = ?", [ident]), (f"DELETE FROM index__{number}__index WHERE source_id = ?", [ident]))
    app.wait("document.removed", f"documents/{ident}")


class Conversation:
    def __init__(self, app, user):
        self.app, self.user, self.id, self.turns, self.likes = app, user, uuid.uuid4().hex, [], []
        app.add("conversation", id=self.id, name=app.text("Untitled"), user=user, is_public=0, data_source={}, date_created=now(), date_updated=now())
        app.wait("conversation.created", f"conversations/{self.id}")

    def save(self):
        self.app.set("conversation", self.id, data_source={
            "selected": {}, "messages": self.turns, "retrieval_messages": [self.app.text("panel") for _ in self.turns], "plot_history": [],
            "state": {"app": {"regen": False}}, "likes": self.likes})

    def ask(self, count=1):
        """Turns that are saved together are told one by one."""
        for _ in range(count):
            self.turns.append([self.app.text("question"), self.app.text("answer")])
            self.app.turn()
        self.save()
        self.app.wait("chat.response.generated", f"conversations/{self.id}/messages/{self.id}/{len(self.turns) - 1}")

    def regenerate(self):
        self.turns[-1][1] = self.app.text("another")
        self.save()
        self.app.truth["edits"] += 1
        self.app.wait("chat.edited", f"conversations/{self.id}/messages/{self.id}/{len(self.turns) - 1}")

    def like(self, turn, liked):
        self.likes.append([[turn, 1], self.turns[turn][1], liked])
        self.save()
        self.app.wait("chat.feedback", f"conversations/{self.id}/messages/{self.id}/{turn}")


def tell(app):
    user = uuid.uuid4().hex
    app.add("llm_table", name="openai", spec={"api_key": app.secret()})
    app.add("user", id=user, username="Ann", username_lower="ann", password=app.secret(), admin=0)
    app.wait("user.created", f"users/{user}")
    app.set("user", user, admin=1)
    app.wait("user.updated", f"users/{user}")
    create_index(app, 1, "File Collection")
    create_index(app, 2, "GraphRAG Collection")
    talk = Conversation(app, user)
    app.set("conversation", talk.id, name=app.text("Leave"))
    app.wait("conversation.updated", f"conversations/{talk.id}")
    talk.ask()
    talk.ask(3)
    talk.regenerate()
    talk.like(1, True)
    talk.like(2, False)
    app.add("issuereport", issues={"correctness": "wrong", "issues": [], "more_detail": app.text("detail")},
            chat={"conv_id": talk.id, "chat_history": [app.text("history")]}, settings={"key": app.secret()}, user=user)
    app.wait("chat.feedback", f"conversations/{talk.id}")
    first = upload(app, 1, user, "policy.pdf")
    upload(app, 2, user, "rules.pdf")
    remove(app, 1, first)
    give_up(app, 1, user)
    app.set("ktem__index", 2, name="Graphs")
    app.wait("collection.updated", "collections/2")
    drop_index(app, 2)
    app.drop("conversation", talk.id)
    app.wait("conversation.deleted", f"conversations/{talk.id}")
    app.drop("user", user)
    app.wait("user.deleted", f"users/{user}")
