/** What a form with a file may have beside it. */
export const FILE_FIELD = 'file';

export const FORM_LIMITS = { fields: 32, fieldName: 100, fieldBytes: 64 * 1024 } as const;
