-- What operators asked a device to do once, and what became of it.
ALTER TABLE devices ADD COLUMN actions TEXT;
