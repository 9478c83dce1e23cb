# realtime/ -- selliko-gateway, Socket.IO over libwebsockets (linked only here).
