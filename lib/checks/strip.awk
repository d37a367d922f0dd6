# SPDX-License-Identifier: MIT
# checks/strip: C sources with comments and the contents of string and character literals removed, one output line per
# input line, "<file>:<line>:" in front. With -v keep=comments: the comments only, the rest removed.
FNR == 1 { state = "code" }
{
    out = ""
    n = length($0)
    for (i = 1; i <= n; i++) {
        c = substr($0, i, 1)
        pair = substr($0, i, 2)
        if (state == "comment") {
            if (pair == "*/") { state = "code"; i++ }
            else if (keep == "comments") out = out c
        } else if (state == "string" || state == "char") {
            if (c == "\\") i++
            else if (c == (state == "string" ? "\"" : "'")) {
                state = "code"
                if (keep != "comments") out = out c
            }
        } else if (pair == "/*") { state = "comment"; i++; out = out " " }
        else if (pair == "//") {
            if (keep == "comments") out = out substr($0, i + 2)
            break
        } else {
            if (c == "\"") state = "string"
            else if (c == "'") state = "char"
            if (keep != "comments") out = out c
        }
    }
    if (state == "string" || state == "char") state = "code"
    printf "%s:%d:%s\n", FILENAME, FNR, out
}
