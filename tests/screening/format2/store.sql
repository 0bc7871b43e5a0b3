BEGIN TRANSACTION;
CREATE TABLE audit (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	time TEXT NOT NULL, 
	"key" TEXT NOT NULL CHECK (length(key) = 64), 
	name TEXT NOT NULL, 
	verdict TEXT NOT NULL CHECK (verdict IN ('accept', 'retake', 'none')), 
	replaced TEXT NOT NULL CHECK (replaced IN ('accept', 'retake', 'none')), 
	probability DOUBLE, 
	model_sha256 TEXT NOT NULL
);
INSERT INTO "audit" VALUES(1,'2026-11-29T12:12:45.270+00:00','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','größe.jpg','accept','none',0.2,'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd');
INSERT INTO "audit" VALUES(2,'2026-11-29T12:12:45.321+00:00','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','a.jpg','retake','none',3.33333333333333314829e-01,'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd');
INSERT INTO "audit" VALUES(3,'2026-11-29T12:12:45.361+00:00','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','größe.jpg','none','accept',0.2,'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd');
INSERT INTO "audit" VALUES(4,'2026-11-29T12:12:45.413+00:00','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','größe.jpg','retake','none',0.2,'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd');
CREATE TABLE facts (
	name TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "facts" VALUES('format','1');
CREATE TABLE results (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	status TEXT NOT NULL, 
	decision TEXT, 
	triage TEXT, 
	probability DOUBLE, 
	rank DOUBLE NOT NULL, 
	is_newest BOOLEAN NOT NULL, 
	record TEXT NOT NULL
);
INSERT INTO "results" VALUES(1,'a.jpg','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','ok','affected',NULL,0.9,-0.9,0,'{"name":"a.jpg","key":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","status":"ok","reason":"","probability":0.9,"decision":"affected","triage":null,"origin":"","height":0,"width":0,"method":"","layers":"","grid":"","interpolation":"","flip":false,"flat":false,"peak":null,"contours":[],"picture":"","map":"","remarks":[],"doubts":[],"tags":{}}');
INSERT INTO "results" VALUES(2,'größe.jpg','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','ok','normal',NULL,0.2,-0.2,1,'{"name":"größe.jpg","key":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","status":"ok","reason":"","probability":0.2,"decision":"normal","triage":null,"origin":"","height":0,"width":0,"method":"","layers":"","grid":"","interpolation":"","flip":false,"flat":false,"peak":null,"contours":[],"picture":"","map":"","remarks":[],"doubts":[],"tags":{}}');
INSERT INTO "results" VALUES(3,'no.jpg','','unreadable',NULL,NULL,NULL,1.0,1,'{"name":"no.jpg","key":"","status":"unreadable","reason":"no","probability":null,"decision":null,"triage":null,"origin":"","height":0,"width":0,"method":"","layers":"","grid":"","interpolation":"","flip":false,"flat":false,"peak":null,"contours":[],"picture":"","map":"","remarks":[],"doubts":[],"tags":{}}');
INSERT INTO "results" VALUES(4,'a.jpg','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','ok','normal',NULL,3.33333333333333314829e-01,-3.33333333333333314829e-01,1,'{"name":"a.jpg","key":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","status":"ok","reason":"","probability":0.3333333333333333,"decision":"normal","triage":null,"origin":"","height":0,"width":0,"method":"","layers":"","grid":"","interpolation":"","flip":false,"flat":false,"peak":null,"contours":[],"picture":"","map":"","remarks":[],"doubts":[],"tags":{}}');
CREATE INDEX results_of_key ON results ("key", id);
CREATE INDEX worklist ON results (rank, name, status, decision, triage, "key", is_newest) WHERE is_newest = 1;
CREATE UNIQUE INDEX newest_of_name ON results (name) WHERE is_newest = 1;
CREATE INDEX audit_of_key ON audit ("key", id);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
CREATE VIEW verdicts AS SELECT audit."key", audit.name, audit.verdict, audit.probability, audit.time, audit.id 
FROM audit 
WHERE audit.verdict != 'none' AND NOT (EXISTS (SELECT * 
FROM audit AS later 
WHERE later."key" = audit."key" AND later.id > audit.id));
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('results',4);
INSERT INTO "sqlite_sequence" VALUES('audit',4);
COMMIT;
