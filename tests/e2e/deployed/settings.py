"""Django's settings; the environment chooses the database and what the tests compare."""

import os

_ON_SQLITE = "SQLITE" in os.environ

DATABASES = {
    "default": {
        "ENGINE": f"django.db.backends.{'sqlite3' if _ON_SQLITE else 'postgresql'}",
        "NAME": os.environ["SQLITE" if _ON_SQLITE else "PGDATABASE"],
        "ATOMIC_REQUESTS": "ATOMIC" in os.environ,
        "CONN_MAX_AGE": int(os.environ.get("MAX_AGE", "0")),
        "CONN_HEALTH_CHECKS": "HEALTH" in os.environ,
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 3}} if "POOL" in os.environ else {},
    }
}
ALLOWED_HOSTS = ["*"]
CELERY_BROKER_URL = os.environ.get("BROKER_URL", "memory://")
CELERY_TASK_IGNORE_RESULT = True
DEBUG = "DEBUG" in os.environ
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
INSTALLED_APPS = ["deployed"]
MIDDLEWARE = ["deployed.views.middleware"] if "MIDDLEWARE" in os.environ else []
ROOT_URLCONF = "deployed.urls"
SECRET_KEY = "of a test"
USE_TZ = True
WSGI_APPLICATION = "deployed.wsgi.application"
