# cron/ -- utilities that run once and exit, or stay for --watch SECONDS.
