/** The buckets of the local witness. */
export const WITNESS_BUCKETS = { journal: 'witness-journal', state: 'witness-state' } as const;
