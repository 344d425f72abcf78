-- What the pass that last went through could not look at: a later one that has not come to it tells nothing of it.
ALTER TABLE scan ADD COLUMN whole_unseen INTEGER NOT NULL DEFAULT 0;
