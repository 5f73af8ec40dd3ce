"""Makes the tables and their rows."""

import django
from django.db import connection

django.setup()

from deployed import models  # noqa: E402 - models need the applications

with connection.schema_editor() as editor:
    editor.create_model(models.Customer)
    editor.create_model(models.Order)
models.fill()
