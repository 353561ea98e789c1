-- What operators say of a device: attributes for filters and views.
ALTER TABLE devices ADD COLUMN registry TEXT;
