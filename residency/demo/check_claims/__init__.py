"""The demo's independent checker: a demo folder in, a verdict on every claim out. Never imports residency.

python -IS residency/demo/check_claims demo-data
"""
