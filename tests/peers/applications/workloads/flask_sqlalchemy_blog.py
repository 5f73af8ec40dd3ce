# /// script
# dependencies = [
#   "flask-sqlalchemy", "flask-caching", "flask-session", "cachelib", "opentelemetry-instrumentation-flask >=0.63b0",
# ]
# [tool.application]
# about = "Flask-SQLAlchemy, Flask-Caching and Flask-Session in one blog"
# ci = true
# ///
"""A blog: posts of authors, a page of them, comments, a visit counter in a session that is kept in SQL."""

import json

from flask import Flask, jsonify, request, session
from flask_caching import Cache
from flask_session import Session
from flask_sqlalchemy import SQLAlchemy

application = Flask(__name__)
application.config.update(
    SQLALCHEMY_DATABASE_URI="sqlite:///blog.db",
    SQLALCHEMY_RECORD_QUERIES=True,
    SECRET_KEY="x",
    CACHE_TYPE="SimpleCache",
    SESSION_TYPE="sqlalchemy",
)
db = SQLAlchemy(application)
application.config["SESSION_SQLALCHEMY"] = db
cache = Cache(application)
with application.app_context():
    Session(application)


class Author(db.Model):
    """Writes posts."""

    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(80), unique=True, nullable=False)
    posts = db.relationship("Post", back_populates="author")


class Post(db.Model):
    """Of an author."""

    id = db.Column(db.Integer, primary_key=True)
    title = db.Column(db.String(200), nullable=False)
    author_id = db.Column(db.ForeignKey(Author.id), nullable=False)
    author = db.relationship(Author, back_populates="posts")


@application.post("/posts")
def write():
    """A post of an author who may be new."""
    body = request.get_json()
    author = db.session.execute(db.select(Author).filter_by(name=body["author"])).scalar_one_or_none()
    post = Post(title=body["title"], author=author or Author(name=body["author"]))
    db.session.add(post)
    db.session.commit()
    return jsonify(id=post.id)


@application.get("/posts")
def listed():
    """A page, with the name of each author loaded one by one."""
    session["visits"] = session.get("visits", 0) + 1
    page = db.paginate(db.select(Post).order_by(Post.id), page=int(request.args["page"]), per_page=10)
    return jsonify(
        total=page.total,
        visits=session["visits"],
        posts=[{"title": post.title, "author": post.author.name} for post in page.items],
    )


@application.get("/authors")
@cache.cached(timeout=60)
def authors():
    """How many posts each has."""
    return jsonify({author.name: len(author.posts) for author in db.session.scalars(db.select(Author))})


@application.get("/posts/<int:number>")
def one(number):
    """Or 404."""
    return jsonify(title=db.get_or_404(Post, number).title)


with application.app_context():
    db.create_all()
client = application.test_client()
answers = []
for number in range(20):
    answers.append(client.post("/posts", json={"title": f"post {number}", "author": f"author {number % 7}"}).json)
for path in ("/posts?page=1", "/posts?page=2", "/posts?page=3", "/authors", "/authors", "/posts/3", "/posts/99"):
    answer = client.get(path)
    answers.append([answer.status_code, answer.json])
print(json.dumps(answers, sort_keys=True))
