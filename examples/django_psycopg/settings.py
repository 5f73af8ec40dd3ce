"""Django's settings; libpq's own variables (PGHOST, PGUSER, PGPASSWORD …) say where the database is."""

import os

ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"]}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REST_FRAMEWORK = {  # neither users nor pages for browsers
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": None,
}
ROOT_URLCONF = "django_psycopg.site"
SECRET_KEY = os.environ.get("SECRET_KEY", "for this example alone")
USE_TZ = True
