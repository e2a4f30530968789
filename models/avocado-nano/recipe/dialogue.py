"""R_D, the dialogue reward (Eq. 4-7): the similarity of two lists of spoken lines, including their order and speakers."""
import unicodedata

SIMILAR = 0.6      # pairs below this similarity do not count


def levenshtein(a, b):
    """Levenshtein distance of two strings, in code points after NFC."""
    a, b = unicodedata.normalize('NFC', a), unicodedata.normalize('NFC', b)
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        corner, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (x != y))
    return row[-1]


def similarity(a, b):
    """Eq. 4: 1 - edits / longer length."""
    longer = max(len(unicodedata.normalize('NFC', a)), len(unicodedata.normalize('NFC', b)))
    return (longer - levenshtein(a, b)) / longer if longer else 1.0


def align(matrix, least=SIMILAR):
    """Eq. 5: the best total of pairs that keep the order and reach that similarity, and the pairs (0-based; ties as in the fixtures)."""
    rows, columns = len(matrix), len(matrix[0]) if matrix else 0
    best = [[0.0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(1, rows + 1):
        for j in range(1, columns + 1):
            pair = best[i - 1][j - 1] + matrix[i - 1][j - 1] if matrix[i - 1][j - 1] >= least else 0.0
            best[i][j] = max(best[i - 1][j], best[i][j - 1], pair)
    pairs, i, j = [], rows, columns
    while i and j:
        if best[i][j] == best[i - 1][j]:
            i -= 1
        elif best[i][j] == best[i][j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return best[rows][columns], pairs[::-1]


def dialogue_f1(generated, reference, content, speakers):
    """Eq. 6-7 from the numbers of lines, the content total and the pairs with the same speaker; 1 when neither side has speech."""
    if not generated and not reference:
        return 1.0
    return (content + speakers) / (generated + reference) if generated and reference else 0.0


def dialogue_reward(generated, reference):
    """R_D of [(speaker, line)] against [(speaker, line)]."""
    content, pairs = align([[similarity(line, truth) for _, truth in reference] for _, line in generated])
    speakers = sum(generated[i][0] == reference[j][0] for i, j in pairs)
    return dialogue_f1(len(generated), len(reference), content, speakers)
