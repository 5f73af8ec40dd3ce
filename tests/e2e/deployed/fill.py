"""Makes the tables and their rows."""

import os

import django
from django.db import connection

os.environ["DJANGO_SETTINGS_MODULE"] = "deployed.settings"
django.setup()

from deployed import models  # noqa: E402 - models need the applications

with connection.schema_editor() as editor:
    editor.create_model(models.Customer)
    editor.create_model(models.Order)
models.fill()
