-- Libraries of the study, tied to patient, visit and tissue.
-- grain: one row per sample_id
-- unit: rin on its scale of 1 to 10; reverse_pct in percent of reads on genes
-- null: usubjid is null where the sheet names no subject; sex where sdtm.dm does not record it; reverse_pct where no counts were delivered or no read fell on a gene
-- column sample_id: Sample identifier of the laboratory
-- column tissue: LESIONAL or NON-LESIONAL
-- column sex: Sex as recorded in sdtm.dm
-- column rin: RNA integrity number
-- column batch: Sequencing batch
-- column strandedness: Strandedness of the library as the laboratory states it
-- column reverse_pct: Reads in the reverse column of STAR among those on either strand
with strand as (
    select
        sample_id,
        sum(try_cast(forward as bigint)) as forward_reads,
        sum(try_cast(reverse as bigint)) as reverse_reads
    from raw.star
    where not starts_with(gene_id, 'N_')
    group by sample_id
)

select
    be.berefid as sample_id,
    be.usubjid,
    be.visit,
    be.visitnum,
    be.tissue,
    dm.sex,
    be.bedtc as collected_dtc,
    try_cast(sheet.RIN as double) as rin,
    sheet.BATCH as batch,
    lower(sheet.STRANDEDNESS) as strandedness,
    100 * strand.reverse_reads / nullif(strand.forward_reads + strand.reverse_reads, 0) as reverse_pct,
    be._source_file,
    be._source_row
from sdtm.be
inner join raw.sample_sheet as sheet
    on be._source_file = sheet._source_file and be._source_row = sheet._source_row
left join sdtm.dm on be.usubjid = dm.usubjid
left join strand on be.berefid = strand.sample_id
