"""A second tokenizer, character by character, to compare the tokenizer under test with."""


def naive_sentences(paragraph):
    tokens = []
    text = paragraph.lower()
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        end, token = _next_token(text, place)
        tokens.append((token, end))
        place = end
    sentences, current = [], []
    for token, end in tokens:
        before_space = end == len(text) or text[end].isspace()
        if token in {".", "!", "?"} and before_space and current and current != ["N"]:
            if token != ".":
                current.append(token)
            sentences.append([*current, "<eos>"])
            current = []
        else:
            current.append(token)
    return sentences + ([[*current, "<eos>"]] if current else [])


def naive_paragraphs(text):
    """Return the paragraphs of a text, each with its lines joined by newlines."""
    groups = [[]]
    for line in text.split("\n"):
        if line.strip():
            groups[-1].append(line)
        else:
            groups.append([])
    return ["\n".join(lines) for lines in groups if lines]


def _next_token(text, begin):
    """Return the end of the token that starts at `begin`, and the token."""
    end = begin
    while end + 1 < len(text) and _letter(text[end]) and text[end + 1] == ".":
        end += 2
    if end - begin >= 4:
        return end, text[begin:end]
    if text[begin].isdecimal():
        for end in range(min(len(text), begin + 40), begin, -1):
            followed = end < len(text) and _in_word(text[end])
            if _number(text[begin:end]) and not followed:
                return end, "N"
    end = begin
    if _in_word(text[begin]):
        while end < len(text) and _in_word(text[end]):
            end += 1
        while end + 1 < len(text) and text[end] in "-'’" and _letter(text[end + 1]):  # noqa: RUF001
            end += 1
            while end < len(text) and _in_word(text[end]):
                end += 1
        return end, text[begin:end]
    if text[begin] in ".*=<>/-":
        while end < len(text) and text[end] == text[begin]:
            end += 1
        return end, text[begin:end]
    return begin + 1, text[begin]


def _in_word(character):
    return character.isalnum() or character == "_"


def _letter(character):
    return character.isalnum() and not character.isdecimal()


def _number(text):
    if text[:2] in {"0x", "0o", "0b"}:
        return bool(text[2:]) and set(text[2:]) <= set("0123456789abcdef_")
    text = text.removesuffix("j")
    mantissa, e, exponent = text.partition("e")
    if e and not exponent.removeprefix("-").removeprefix("+").isdecimal():
        return False
    digits = mantissa.replace(",", ".").replace("_", ".").split(".")
    return all(part.isdecimal() for part in digits)
