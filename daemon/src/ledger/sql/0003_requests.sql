-- What operators asked of the daemon; the oldest are dropped.
CREATE TABLE request (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    uid     INTEGER,           -- the user on the Unix socket; none: a token
    account TEXT NOT NULL,     -- the user's name, or the token's
    what    TEXT NOT NULL,
    subject TEXT NOT NULL,
    outcome TEXT               -- none: under way, or the daemon ended meanwhile
);
