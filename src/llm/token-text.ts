/** The text that tokens stand for. Clients that cut texts to a model's limit themselves send what they cut in tokens. */
import { AppError } from '../kernel/errors.ts';

/** Of OpenAI's embedding models since 2022. The vocabulary is loaded when it is first asked for (0.2 s, 45 MB). */
const vocabulary = () => import('gpt-tokenizer/encoding/cl100k_base');

/** Tokens of `cl100k_base`. Throws `invalid_request` where one is not in it. */
export async function textOfTokens(tokens: readonly number[]): Promise<string> {
  const { decode } = await vocabulary();
  try {
    return decode([...tokens])
      .toWellFormed()
      .replaceAll('\0', '');
  } catch (cause) {
    throw new AppError('invalid_request', 'The tokens are not of the vocabulary cl100k_base.', {
      cause,
      errors: [{ path: 'input', message: 'Expected tokens of cl100k_base, or text' }],
    });
  }
}
