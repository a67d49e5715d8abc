import torch
from transformers import BertConfig, BertModel

from tests.vlp_core.recipes.builders import WORDS, batch
from vlp_core.encoders.words import WordEmbed, WordEncoder
from vlp_core.interop import bert, from_transformers
from vlp_core.nn.blocks import Trunk
from vlp_core.vocabulary import there


@torch.no_grad()
def test_bert_reads_as_the_one_its_weights_are_of():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128}
    theirs = BertModel(BertConfig(**sizes, vocab_size=WORDS.size, max_position_embeddings=WORDS.length)).eval()
    for parameter in theirs.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    encoder = WordEncoder(WordEmbed(32, WORDS), Trunk(32, 3, 4, norm="post", eps=1e-12))
    weights = from_transformers(theirs)
    first = {_as_first_published(name): value for name, value in theirs.state_dict().items()}
    assert all(torch.equal(bert.weights(first, theirs.config.to_dict())[name], weights[name]) for name in weights)
    encoder.load_state_dict({name.removeprefix("model.text."): value for name, value in weights.items()})
    tokens = batch(6, longest=14).tokens
    seen = there(tokens, WORDS.end)
    expected = theirs(input_ids=tokens, attention_mask=seen.long()).last_hidden_state
    torch.testing.assert_close(encoder(tokens).states[seen], expected[seen], atol=1e-4, rtol=0)


def _as_first_published(name: str) -> str:
    """So the files of bert-base-uncased name their norms."""
    return f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
