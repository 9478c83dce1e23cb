# selliko.conf.5.awk -- the sample configuration (sellikoctl sample-conf) as a manual page.
#
# The sample is made from the table in lib/config.h, so is this: no setting can be missing here.
function plain(s) { gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); return s }

BEGIN {
    print ".\\\" Made from lib/config.h; changes here are lost."
    print ".TH SELLIKO.CONF 5 \"\" SELLIKO \"File formats\""
    print ".SH NAME\nselliko.conf \\- settings of a SELLIKO service"
    print ".SH DESCRIPTION"
    print "The programs, the utilities and"
    print ".BR sellikoctl (8)"
    print "read the file that the environment variable"
    print ".B SELLIKO_CONF"
    print "names, by default"
    print ".IR " plain(file) "."
    print "A line is"
    print ".IB NAME = value\n,"
    print "as in systemd's EnvironmentFile: # or ; at its beginning make it a comment, the value may stand in single or double quotes,"
    print "and a line is not continued."
    print "An environment variable of the same name comes before the file; an empty value asks for the default."
    print "A file that is not right is refused at the start, with everything that is wrong named at once."
    print ".PP"
    print "It holds secrets: let nobody but root and the group of the service read it (0640)."
    print ".PP"
    print "Durations are written 90, 90s, 15m, 24h or 7d; lists with commas; switches on or off; amounts in rupees."
    print "A relative path is taken from the working directory."
    print ".PP"
    print "After a change:"
    print ".B systemctl reload selliko"
    print "(or"
    print ".BR \"selliko\\-service reload\" );"
    print "for"
    print ".BR LISTEN , \" PORT\" , \" ALLOWED_ORIGINS\" , \" METRICS_ALLOW\" , \" RATE_LIMITS\" \" and \" GATEWAYS"
    print "also"
    print ".BR selliko\\-nginx (8)."
}
/^# ---- .* ----$/ {
    s = substr($0, 8); sub(/ ----$/, "", s)
    print ".SH " toupper(plain(s)); started = 1; meaning = ""
    next
}
!started { next }
/^# / { meaning = substr($0, 3); next }
/^#?[A-Z0-9_]+=/ {
    line = $0; sub(/^#/, "", line)
    name = line; sub(/=.*/, "", name)
    value = line; sub(/^[^=]*=/, "", value)
    print ".TP\n.B " plain(name)
    if (meaning != "") print plain(meaning) "."
    if (value != "") print "Default:\n.BR \"" plain(value) "\" ."
    if (meaning == "" && value == "") print "No default."
    meaning = ""
}
END {
    print ".SH SEE ALSO\n.BR sellikoctl (8),\n.BR selliko\\-programs (8),\n.BR selliko\\-nginx (8)"
}
