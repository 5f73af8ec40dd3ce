# /// script
# dependencies = ["jupyterhub"]
# [tool.application]
# about = "the tables of JupyterHub: users, groups, servers, tokens, roles"
# ///
"""Users with servers and tokens, read as the hub reads them: per user, per token, per group."""

import json
import logging

from jupyterhub import orm, roles

logging.disable(logging.CRITICAL)
db = orm.new_session_factory("sqlite:///hub.sqlite")()


def filled():
    """Roles and the hub's own client, then users in groups."""
    db.add(orm.OAuthClient(identifier="jupyterhub", secret="", redirect_uri="/", description="the hub"))
    for role in roles.get_default_roles():
        roles.create_role(db, role)
    groups = [orm.Group(name=f"group {number}") for number in range(3)]
    db.add_all(groups)
    for number in range(12):
        user = orm.User(name=f"user {number}")
        user.groups.append(groups[number % 3])
        user.orm_spawners[""] = orm.Spawner(name="", server=orm.Server(port=9000 + number))
        db.add(user)
    db.commit()


def tokens():
    """One for each user; the hub looks each up when it is used."""
    made = []
    for user in db.query(orm.User).order_by(orm.User.id):
        roles.assign_default_roles(db, entity=user)
        made.append(user.new_api_token(note="tests"))
    return [orm.APIToken.find(db, token).user.name for token in made]


def listed():
    """What the hub's list of users says of each."""
    return [
        [user.name, [group.name for group in user.groups], [s.server.port for s in user.orm_spawners.values()]]
        for user in db.query(orm.User).order_by(orm.User.id)
    ]


filled()
told = [tokens(), listed(), sorted(role.name for role in db.query(orm.Role))]
told.append(orm.APIToken.purge_expired(db))
db.delete(orm.User.find(db, "user 3"))
db.commit()
told.append(db.query(orm.User).count())
print(json.dumps(told))
