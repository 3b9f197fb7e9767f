/** The provider of models: whether it answers, and whether its vectors are those that searches ask. */
import type { Clock } from '../../kernel/clock.ts';
import { messageOf } from '../../kernel/errors.ts';
import type { Logger } from '../../kernel/logger.ts';
import { createProviders, EMBEDDING_MODEL } from '../../llm/create-providers.ts';
import { type DoctorEnvironment, type Finding, problem, warning, well } from './finding.ts';

const CHECK = 'provider';
const PATIENCE_MS = 20_000;

const isBuiltin = ({ openaiBaseUrl, openaiApiKeys, embeddingBaseUrl, embeddingApiKeys }: DoctorEnvironment) =>
  openaiBaseUrl === undefined &&
  openaiApiKeys.length === 0 &&
  embeddingBaseUrl === undefined &&
  embeddingApiKeys.length === 0;

export async function examineProvider(
  environment: DoctorEnvironment,
  dependencies: { clock: Clock; logger: Logger },
): Promise<Finding[]> {
  const { clock, logger } = dependencies;
  if (isBuiltin(environment)) {
    return [
      warning(
        CHECK,
        'None is configured: answers are put together from the best sentences.',
        'Set OPENAI_API_KEYS or OPENAI_BASE_URL for a model.',
      ),
    ];
  }
  try {
    const { embeddings, prepare } = await createProviders(environment, { clock, logger });
    const signal = AbortSignal.timeout(PATIENCE_MS);
    await prepare(signal);
    const { vectors } = await embeddings.embed(['Is anybody there?'], { purpose: 'query', signal });
    const dimensions = vectors[0]?.length ?? 0;
    if (environment.embeddingDimensions !== undefined && environment.embeddingDimensions !== dimensions) {
      return [
        problem(
          CHECK,
          `${embeddings.model} makes vectors of ${dimensions}, EMBEDDING_DIMENSIONS says ${environment.embeddingDimensions}.`,
          'Set EMBEDDING_DIMENSIONS to what the model makes.',
        ),
      ];
    }
    return [well(CHECK, `${embeddings.model} makes vectors of ${dimensions} dimensions.`)];
  } catch (error) {
    return [
      problem(
        CHECK,
        `It does not answer: ${messageOf(error)}`,
        'Look at its address and keys, and whether it knows the model.',
      ),
    ];
  }
}

interface Space {
  id: number;
  provider: string;
  model: string;
  dimensions: number;
  state: string;
}

/** Whether what is configured is what searches ask. */
export function examineSpaceOf(environment: DoctorEnvironment, spaces: readonly Space[]): Finding[] {
  const active = spaces.find(({ state }) => state === 'active');
  if (!active) return [well('embedding space', 'There is none yet: the first start makes it.')];
  const { id, model, dimensions } = active;
  const said = `Searches ask space ${id}: ${model}, ${dimensions} dimensions`;
  const configured = isBuiltin(environment) ? undefined : (environment.embeddingModel ?? EMBEDDING_MODEL);
  const otherModel = configured === undefined ? active.provider !== 'builtin' : configured !== model;
  const otherSize = environment.embeddingDimensions !== undefined && environment.embeddingDimensions !== dimensions;
  if (!otherModel && !otherSize) return [well('embedding space', `${said}, as configured.`)];
  const ours = `${configured ?? 'the built-in model'}${environment.embeddingDimensions ? `, ${environment.embeddingDimensions}` : ''}`;
  return [
    problem(
      'embedding space',
      `${said}; configured is ${ours}.`,
      'Configure that one again, or move: bun run spaces create, then activate (README).',
    ),
  ];
}
