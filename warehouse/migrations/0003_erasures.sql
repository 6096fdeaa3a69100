-- Record what was erased: without a word that names the participant, and with the hashes of what stayed.
create table store.meta.erasure (
    version bigint, erased_at timestamp, author varchar, reason varchar, rows bigint, files bigint,
    versions varchar, salt varchar, key_hashes varchar, code_version varchar
);
create table store.meta.erased_content (
    erased_in bigint, target varchar, version bigint, source_file varchar, content varchar
);
