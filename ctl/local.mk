# ctl/ -- sellikoctl, the administrator's tool.
