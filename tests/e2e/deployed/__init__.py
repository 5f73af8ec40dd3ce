"""A Django project as it is deployed: ``test_django_deployed.py`` starts it by every server that people use."""
