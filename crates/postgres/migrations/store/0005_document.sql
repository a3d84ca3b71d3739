-- A json document as a value that is compared; null for what jsonb cannot hold, which would end
-- the whole read.
CREATE FUNCTION store.document(document text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE STRICT
AS $$
BEGIN
    RETURN document::jsonb;
EXCEPTION
    WHEN untranslatable_character OR invalid_text_representation OR numeric_value_out_of_range
        OR program_limit_exceeded OR statement_too_complex THEN
    RETURN NULL;
END
$$;
