# /// script
# dependencies = ["flask-appbuilder", "opentelemetry-instrumentation-flask >=0.63b0"]
# [tool.application]
# about = "Flask-AppBuilder, as in Superset and Airflow: its roles and permissions, a login, views and REST of models"
# ///
"""A list of contacts in groups: the permissions that its start writes, then pages and REST calls of a user."""

import json
import logging

from flask import Flask
from flask_appbuilder import AppBuilder, Model, ModelRestApi, ModelView
from flask_appbuilder.models.sqla.interface import SQLAInterface
from flask_appbuilder.utils.legacy import get_sqla_class
from sqlalchemy import Column, ForeignKey, Integer, String
from sqlalchemy.orm import relationship

logging.disable(logging.CRITICAL)
application = Flask(__name__)
application.config.update(
    SQLALCHEMY_DATABASE_URI="sqlite:///crm.db",
    SECRET_KEY="a key that is long enough for the signatures of tokens",
    WTF_CSRF_ENABLED=False,
    FAB_API_SWAGGER_UI=False,
    RATELIMIT_ENABLED=False,
)
db = get_sqla_class()()


class ContactGroup(Model):
    """Has contacts."""

    __tablename__ = "contact_group"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True, nullable=False)

    def __repr__(self):
        return self.name


class Contact(Model):
    """In a group."""

    __tablename__ = "contact"

    id = Column(Integer, primary_key=True)
    name = Column(String(150), nullable=False)
    contact_group_id = Column(Integer, ForeignKey("contact_group.id"), nullable=False)
    contact_group = relationship("ContactGroup")


class ContactView(ModelView):
    """Pages."""

    datamodel = SQLAInterface(Contact)
    list_columns = ["name", "contact_group.name"]


class ContactApi(ModelRestApi):
    """REST."""

    resource_name = "contact"
    datamodel = SQLAInterface(Contact)


with application.app_context():
    db.init_app(application)
    builder = AppBuilder(application, db.session)
    builder.add_view(ContactView, "Contacts")
    builder.add_api(ContactApi)
    db.create_all()
    builder.add_permissions(update_perms=True)
    admin = builder.sm.find_role("Admin")
    builder.sm.add_user("admin", "Ada", "Admin", "admin@example.org", admin, "secret")
    groups = [ContactGroup(name=f"group {number}") for number in range(4)]
    db.session.add_all(groups)
    db.session.add_all([Contact(name=f"contact {number:02}", contact_group=groups[number % 4]) for number in range(30)])
    db.session.commit()
client = application.test_client()
told = []
signed = client.post("/api/v1/security/login", json={"username": "admin", "password": "secret", "provider": "db"})
told.append(signed.status_code)
headers = {"Authorization": f"Bearer {signed.json['access_token']}"}
for number in range(6):
    made = client.post("/api/v1/contact/", json={"name": f"new {number}", "contact_group": 1}, headers=headers)
    told.append([made.status_code, made.json.get("id")])
listed = client.get("/api/v1/contact/?q=(page:0,page_size:20)", headers=headers)
told.append([listed.status_code, listed.json["count"], len(listed.json["result"])])
told.append(client.put("/api/v1/contact/3", json={"name": "renamed"}, headers=headers).status_code)
told.append(client.delete("/api/v1/contact/4", headers=headers).status_code)
told.append(client.get("/api/v1/contact/4", headers=headers).status_code)
told.append(client.post("/login/", data={"username": "admin", "password": "secret"}).status_code)
for path in ("/contactview/list/", "/contactview/show/1", "/users/list/", "/roles/list/"):
    page = client.get(path)
    told.append([path, page.status_code, page.text.count("contact 0")])
print(json.dumps(told))
