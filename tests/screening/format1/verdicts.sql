PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time TEXT NOT NULL,
    key TEXT NOT NULL CHECK (length(key) = 64),
    name TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('accept', 'retake', 'none')),
    replaced TEXT NOT NULL CHECK (replaced IN ('accept', 'retake', 'none')),
    probability REAL,
    model_sha256 TEXT NOT NULL
);
INSERT INTO "audit" VALUES(1,'2026-11-28T17:03:44.360+00:00','7aae2f2756a9782a5c4fb4fde06280bed7746c053e6928b3032d446a66797b4c','a.png','retake','none',2.44670078158378601074e-01,'fa62e04eb3e7e4ffee313c6c2ec02748db373f72097cd2e822225484419c5d78');
INSERT INTO "audit" VALUES(2,'2026-11-28T17:03:44.387+00:00','2addfb280ca722af1e8abf976174df81c20ace2d1bd6e63c36e809b3e2d77213','=c.png','accept','none',2.84038126468658447265e-01,'fa62e04eb3e7e4ffee313c6c2ec02748db373f72097cd2e822225484419c5d78');
INSERT INTO "audit" VALUES(3,'2026-11-28T17:03:44.411+00:00','7aae2f2756a9782a5c4fb4fde06280bed7746c053e6928b3032d446a66797b4c','a.png','accept','retake',2.44670078158378601074e-01,'fa62e04eb3e7e4ffee313c6c2ec02748db373f72097cd2e822225484419c5d78');
INSERT INTO "audit" VALUES(4,'2026-11-28T17:03:44.439+00:00','69fbc9902d50c0b075425c1f02877059cdef56b66288a35ef6710bbec86669ce','d.png','retake','none',2.10817664861679077148e-01,'fa62e04eb3e7e4ffee313c6c2ec02748db373f72097cd2e822225484419c5d78');
INSERT INTO "audit" VALUES(5,'2026-11-28T17:03:44.471+00:00','2addfb280ca722af1e8abf976174df81c20ace2d1bd6e63c36e809b3e2d77213','=c.png','none','accept',2.84038126468658447265e-01,'fa62e04eb3e7e4ffee313c6c2ec02748db373f72097cd2e822225484419c5d78');
CREATE INDEX audit_of_key ON audit (key, id);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
CREATE VIEW verdicts AS
SELECT key, name, verdict, probability, time, id FROM audit
WHERE id IN (SELECT max(id) FROM audit GROUP BY key) AND verdict <> 'none';
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('audit',5);
COMMIT;
