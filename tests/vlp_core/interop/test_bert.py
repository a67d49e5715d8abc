import torch
from transformers import BertConfig, BertModel

from tests.vlp_core.recipes.builders import WORDS, batch
from vlp_core.encoders.words import WordEmbed, WordEncoder
from vlp_core.interop import from_transformers
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
    encoder.load_state_dict({name.removeprefix("model.text."): value for name, value in weights.items()})
    tokens = batch(6, longest=14).tokens
    seen = there(tokens, WORDS.end)
    expected = theirs(input_ids=tokens, attention_mask=seen.long()).last_hidden_state
    torch.testing.assert_close(encoder(tokens).states[seen], expected[seen], atol=1e-4, rtol=0)
