/** What the doctor says, and what it is told of the installation: the server's configuration, as far as it is about others. */
import type { ClamdAddress } from '../../storage/clamd.ts';

export interface Finding {
  check: string;
  severity: 'ok' | 'warning' | 'problem';
  message: string;
  /** What to do; null where there is nothing to do. */
  advice: string | null;
}

export interface DoctorEnvironment {
  dataDir: string;
  databaseUrl: string | undefined;
  databaseOwnerUrl: string | undefined;
  redisUrl: string | undefined;
  blobUrl: string;
  s3: { accessKeyId: string; secretAccessKey: string; sessionToken: string | undefined } | undefined;
  clamav: ClamdAddress | undefined;
  openaiBaseUrl: string | undefined;
  openaiApiKeys: readonly string[];
  embeddingBaseUrl: string | undefined;
  embeddingApiKeys: readonly string[];
  chatModel: string | undefined;
  embeddingModel: string | undefined;
  embeddingDimensions: number | undefined;
  operatorToken: string | undefined;
}

export const well = (check: string, message: string): Finding => ({ check, severity: 'ok', message, advice: null });
export const warning = (check: string, message: string, advice: string): Finding => ({
  check,
  severity: 'warning',
  message,
  advice,
});
export const problem = (check: string, message: string, advice: string): Finding => ({
  check,
  severity: 'problem',
  message,
  advice,
});
